"""The pictures of the HTML page, as inline SVG."""

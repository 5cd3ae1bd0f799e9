"""Documents about sources: one HTML page that stands alone, or Markdown for a pull request."""

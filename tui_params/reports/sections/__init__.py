"""The sections of the HTML page, a file each; none knows another."""

"""The widgets of the explorer; each draws frozen values and posts messages, none reads a source."""

"""Looks at models of another machine through one stream: ``ssh host tui-params relay``, and no port."""

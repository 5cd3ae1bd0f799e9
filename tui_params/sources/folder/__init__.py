"""Folders of shards as one source."""

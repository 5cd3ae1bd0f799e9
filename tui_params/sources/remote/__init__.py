"""Checkpoints elsewhere: on the Hugging Face Hub, on web servers, in buckets, behind SSH. Read by ranges only."""

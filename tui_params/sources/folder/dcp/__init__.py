"""Distributed checkpoints of torch (DCP), as the one model that their pieces are."""

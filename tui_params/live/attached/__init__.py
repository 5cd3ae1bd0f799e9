"""Looks at a model in another process of this user: the viewer's half of attaching. It does not import torch."""

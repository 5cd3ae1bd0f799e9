"""Folders that are more than one set of weights: training runs, their steps, pipelines of models."""

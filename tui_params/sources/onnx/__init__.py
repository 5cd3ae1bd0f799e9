"""ONNX models: the initialisers of their graphs, read where they lie."""

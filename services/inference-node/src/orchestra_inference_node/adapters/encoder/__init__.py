"""The ONNX encoder engine: one vector for each text."""

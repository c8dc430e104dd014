"""Embeddings by onnxruntime."""

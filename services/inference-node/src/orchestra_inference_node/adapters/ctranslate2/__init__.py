"""CTranslate2: models that read a text and write another (CodeT5), and that only read (GraphCodeBERT)."""

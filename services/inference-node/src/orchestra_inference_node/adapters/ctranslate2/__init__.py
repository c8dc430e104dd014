"""Evaluators (CodeT5, GraphCodeBERT) by CTranslate2."""

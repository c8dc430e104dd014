"""Stands where flash-attn would: exllamav2 asks for its version, and then serves in pages.

The attention that would call these is scripted.
"""

__version__ = "2.8.3"


def flash_attn_func(q, k, v, window_size=(-1, -1), softcap=0.0):  # type: ignore[no-untyped-def]
    raise AssertionError("the scripted attention calls no kernel")


flash_attn_varlen_func = flash_attn_with_kvcache = flash_attn_func

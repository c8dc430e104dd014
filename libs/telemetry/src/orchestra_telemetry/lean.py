"""Loads structlog without rich.

Where rich is installed structlog imports it to draw tracebacks, which costs each process 3 MB and a tenth of
a second. Our logs are lines; so this is imported before anything else that imports structlog.
"""

from __future__ import annotations

import sys
from importlib import import_module

if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import_module("structlog")
    finally:
        del sys.modules["rich"]

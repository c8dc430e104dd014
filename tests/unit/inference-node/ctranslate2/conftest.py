from __future__ import annotations

import sys
from pathlib import Path

# tests are imported by their path, so that what lies beside them is not found without this
sys.path.insert(0, str(Path(__file__).parent))

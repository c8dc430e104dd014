"""Lays an environment over the one that runs this: `python overlay.py FOLDER`.

What .venv has, from the same hash-locked files, is seen in FOLDER as well, the packages of this tree among
it; what is installed into FOLDER is seen there alone. So no package is fetched or installed twice.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def main() -> None:
    """Writes one .pth file. `addsitedir`, unlike a plain path, reads the .pth files of editable installs
    too."""
    below = sysconfig.get_paths()["purelib"]
    over = sysconfig.get_paths(vars={"base": sys.argv[1], "platbase": sys.argv[1]})["purelib"]
    Path(over, "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")


if __name__ == "__main__":
    main()

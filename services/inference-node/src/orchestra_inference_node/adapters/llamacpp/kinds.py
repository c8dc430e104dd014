"""`python -m` this prints the kinds of device that the installed llama.cpp sees, one a line.

It loads the package and the CUDA driver, so it is for a process of its own.
"""

from __future__ import annotations

import sys

import xllamacpp

_CARD = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_GPU


def main() -> None:
    """The processor is always one."""
    cards = any(device["type"] == _CARD for device in xllamacpp.get_device_info())
    sys.stdout.write("cpu\ncuda\n" if cards else "cpu\n")


if __name__ == "__main__":
    main()

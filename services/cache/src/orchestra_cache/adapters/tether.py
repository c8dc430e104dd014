"""`python -I -S tether.py PARENT COMMAND…`: becomes the command, which gets SIGTERM when the parent ends,
however it ends. A program of its own and not code between fork and exec, where locks of other threads are
held for ever."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            # it ended before the tether was tied
            sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()

"""Run by path: `tie.py PARENT COMMAND…` becomes the command, tied to the life of the parent process.

The kernel sends SIGTERM when the parent's thread that started this process ends. Python could ask for that
between fork and exec instead, but a fork in a process that uses gRPC takes its pollers along and may abort.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Does not return."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        # it died before the kernel knew
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()

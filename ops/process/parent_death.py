"""Run a command that cannot outlive the process that started it: ``leash.py PARENT COMMAND…``.

``PARENT`` is the process id of the starter. On Linux the kernel kills the command when the thread
that started it ends, however it ends; so start it from the main thread. Other systems have no such
thing: there the command outlives a starter that was killed with SIGKILL, and only then.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def bind(parent: int) -> None:
    """End this process, by SIGKILL, when ``parent`` ends; the setting survives ``exec``."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        raise SystemExit(1)


def leashed(command: list[str]) -> list[str]:
    """``command`` on the leash of this process."""
    # Isolated and without site packages, it takes 15 ms.
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


if __name__ == "__main__":
    bind(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 # the very purpose: no shell

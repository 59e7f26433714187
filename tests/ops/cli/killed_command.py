"""A command of ``photolog`` that kills its process at a given call.

Run with ``CALLS WORDS…``. With 0 calls it ends by itself, and prints how many calls it made on
standard error.
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from ops.cli.main import main

COUNTED = ("/store/", "/ops/maintenance/", "/ops/cli/log.py")

made = 0


def count(frame: FrameType, event: str, _: Any) -> None:
    global made  # noqa: PLW0603
    if event in ("call", "return") and any(part in frame.f_code.co_filename for part in COUNTED):
        made += 1
        if made == last:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    last = int(sys.argv[1])
    threading.setprofile(count)
    sys.setprofile(count)
    main(sys.argv[2:], standalone_mode=False)
    sys.setprofile(None)
    print(made, file=sys.stderr)

"""How whoever started this process starts another command of ``photolog``."""

import os
import shlex
import shutil
import sys
from pathlib import Path

UV_RUN = "UV_RUN_RECURSION_DEPTH"
"""The variable that `uv run` sets: it finds a program that other shells do not have."""


def program() -> str:
    """The words before the name of a command, in a shell in the same folder."""
    if UV_RUN in os.environ:
        return "uv run --no-dev photolog"
    if shutil.which("photolog"):
        return "photolog"
    started = Path(sys.argv[0])
    if started.name == "photolog":
        return shlex.quote(str(started))
    return f"{shlex.quote(sys.executable)} -m ops.cli.main"

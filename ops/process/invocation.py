"""How the user who started this process can start another ``photolog`` command."""

import os
import shlex
import shutil
import sys
from pathlib import Path

UV_RUN = "UV_RUN_RECURSION_DEPTH"
"""The variable that `uv run` sets: only under it is the program on the search path."""


def program() -> str:
    """Return the words to type before a command's name, in a shell in the same folder."""
    if UV_RUN in os.environ:
        return "uv run --no-dev photolog"
    if shutil.which("photolog"):
        return "photolog"
    started = Path(sys.argv[0])
    if started.name == "photolog":
        return shlex.quote(str(started))
    return f"{shlex.quote(sys.executable)} -m ops.cli.main"

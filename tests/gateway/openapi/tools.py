"""Run the public tools that read the gateway's documents: linters and generators of clients."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.servers import unavailable

LONGEST_S = 240.0
GET_TOOLS = "is missing on this machine: .ci/run installs it"


def run(tool: str, *arguments: str | Path, cwd: Path | None = None) -> str:
    """Return what the tool prints; fail with it unless the tool succeeds.

    A tool that is missing fails the test in CI; elsewhere it is skipped.
    """
    program = shutil.which(tool)
    if program is None:
        unavailable(f"{tool} {GET_TOOLS}")
        return ""
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    done = subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        cwd=cwd,
        env={**os.environ, **quiet},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

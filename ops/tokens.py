"""The secret that signs tokens, and tokens for who has it."""

import os
import re
import secrets
import time
from pathlib import Path

from gateway.auth import Tokens
from ops.errors import UserError
from ops.settings import Settings

SECRET_FILE = "secret"  # noqa: S105 # its name
LOCAL_CLIENT = "local"
"""The client that the command line is on the machine of the server."""

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def tokens(settings: Settings, *, create: bool = False) -> Tokens:
    """Issues and verifies with the secret of the settings, or of the data folder.

    Raises:
        UserError: there is no secret, and ``create`` is false; or it is unusable.
    """
    if settings.secret is not None:
        return Tokens(settings.secret.encode())
    path = settings.folder / SECRET_FILE
    try:
        secret = _created(path) if create and not path.exists() else path.read_bytes().strip()
        return Tokens(secret)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no secret to sign a token with in {settings.folder}: start `photolog up` "
            "once, name its folder with --data, or set PHOTOLOG_SECRET"
        ) from error
    except OSError as error:
        raise UserError(f"the secret {path} cannot be used: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{error}: delete {path}, and a new one is drawn") from error


def mint(settings: Settings, client_id: str, role: str, ttl_s: float) -> str:
    """A token valid for ``ttl_s`` from now; raises UserError."""
    try:
        return tokens(settings).issue(client_id, role, ttl_s, time.time())
    except ValueError as error:
        raise UserError(str(error)) from error


def parse_ttl(text: str) -> int:
    """Seconds of a duration such as ``30d``, ``12h``, ``90m``, ``2w`` or ``3600s``, above 0.

    Raises:
        UserError: it is none.
    """
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text, re.ASCII)
    if match is None:
        raise UserError(f"{text!r} is no duration: write 30d, 12h, 90m, 2w or 3600s")
    seconds = int(match[1]) * _UNITS_S[match[2]]
    if seconds == 0:
        raise UserError(f"{text!r} is too short: a duration has to be above 0, at least 1s")
    return seconds


def _created(path: Path) -> bytes:
    """Draw a secret; of several processes that do so at once, all get the same."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(secrets.token_urlsafe(32).encode())
        file.flush()
        os.fsync(fd)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_bytes()

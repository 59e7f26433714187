"""Issue and verify tokens with the keys of the settings or the data folder."""

import re
import time
from collections.abc import Collection

from gateway.http.auth import Tokens
from ops.config.settings import Settings
from ops.errors import UserError
from ops.runtime.signing_keys import KeyFile, create, key_path, keys_in

LOCAL_CLIENT = "local"
"""The client that the command line and the link printed by `photolog up` act for."""

DEFAULT_TTL_S = 30 * 86_400.0

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def tokens(settings: Settings, *, create_key: bool = False) -> Tokens:
    """Return what issues and verifies tokens.

    Raises:
        UserError: there is no key and ``create_key`` is false, or the key is unusable.
    """
    longest_life_s = float(settings.token_ttl_max_s)
    if settings.secret is not None:
        return Tokens(keys_in(settings), longest_life_s=longest_life_s)
    path = key_path(settings)
    try:
        if create_key:
            create(path)
        return Tokens(KeyFile(path), longest_life_s=longest_life_s)
    except FileNotFoundError as error:
        raise UserError(
            f"{settings.folder} holds no secret to sign a token with: start `photolog up` once, "
            "name its folder with --data, or set PHOTOLOG_SECRET"
        ) from error
    except OSError as error:
        raise UserError(f"cannot use the secret {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(
            f"{path}: {error}; delete the file, and the next start creates a new secret"
        ) from error


def default_ttl_s(settings: Settings) -> float:
    """Return the lifetime of a token for which no other was requested."""
    return min(DEFAULT_TTL_S, settings.token_ttl_max_s)


def mint(
    settings: Settings,
    client_id: str,
    role: str,
    ttl_s: float,
    scopes: Collection[str] = (),
    name: str | None = None,
) -> str:
    """Return a token valid for ``ttl_s`` seconds from now; raises UserError."""
    try:
        return tokens(settings).issue(client_id, role, ttl_s, time.time(), scopes, name)
    except ValueError as error:
        raise UserError(str(error)) from error


def parse_ttl(text: str) -> int:
    """Return the seconds of a duration such as ``30d``, ``12h``, ``90m``, ``2w`` or ``3600s``.

    Raises:
        UserError: the text is not a duration above 0.
    """
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text, re.ASCII)
    if match is None:
        raise UserError(f"{text!r} is not a duration: write 30d, 12h, 90m, 2w or 3600s")
    seconds = int(match[1]) * _UNITS_S[match[2]]
    if seconds == 0:
        raise UserError(f"{text!r} is too short: the shortest duration is 1s")
    return seconds

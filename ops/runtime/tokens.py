"""Tokens for whoever has the keys that sign them."""

import re
import time
from collections.abc import Collection

from gateway.http.auth import Tokens
from ops.config.settings import Settings
from ops.errors import UserError
from ops.runtime.signing_keys import KeyFile, create, key_path, keys_in

LOCAL_CLIENT = "local"
"""The client that the command line, and the link of `photolog up`, are for."""

DEFAULT_TTL_S = 30 * 86_400.0

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def tokens(settings: Settings, *, create_key: bool = False) -> Tokens:
    """Issues and verifies with the keys of the settings, or of the data folder.

    Raises:
        UserError: there is no key, and ``create_key`` is false; or it is unusable.
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
            f"there is no secret to sign a token with in {settings.folder}: start `photolog up` "
            "once, name its folder with --data, or set PHOTOLOG_SECRET"
        ) from error
    except OSError as error:
        raise UserError(f"the secret {path} cannot be used: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{error}: delete {path}, and a new one is drawn") from error


def default_ttl_s(settings: Settings) -> float:
    """How long a token lives unless another time is asked for."""
    return min(DEFAULT_TTL_S, settings.token_ttl_max_s)


def mint(
    settings: Settings, client_id: str, role: str, ttl_s: float, scopes: Collection[str] = ()
) -> str:
    """A token valid for ``ttl_s`` from now; raises UserError."""
    try:
        return tokens(settings).issue(client_id, role, ttl_s, time.time(), scopes)
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

"""Read and write retry strategies: ``attempts=5 base_s=2 jitter=false backoff=linear``."""

from difflib import get_close_matches
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

from domain.pipeline.retries import Strategy
from ops.config.setting_values import accepted

_HINTS = get_type_hints(Strategy, include_extras=True)

FORM = f"NAME=VALUE pairs, separated by spaces, of {', '.join(_HINTS)}"


def parse(text: str, default: Strategy) -> Strategy:
    """Return ``default`` with the changes that ``text`` names.

    Raises:
        ValueError: a part of the text is wrong; the message names it and says what is accepted.
    """
    changes: dict[str, Any] = {}
    for part in text.split():
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{part!r} is not NAME=VALUE")
        if name not in _HINTS:
            close = get_close_matches(name, _HINTS, 1)
            hint = f"did you mean {close[0]}?" if close else f"use {', '.join(_HINTS)}"
            raise ValueError(f"unknown name {name!r}: {hint}")
        if name in changes:
            raise ValueError(f"{name} is given twice")
        try:
            changes[name] = msgspec.convert(value, _HINTS[name], strict=False)
        except msgspec.ValidationError as error:
            wanted = accepted(inspect.type_info(_HINTS[name]))
            raise ValueError(f"{name} must be {wanted} (got {value!r})") from error
    return msgspec.structs.replace(default, **changes)


def text_of(strategy: Strategy) -> str:
    """Return the complete strategy as text that ``parse`` reads."""
    values = msgspec.structs.asdict(strategy)
    return " ".join(f"{name}={_text(value)}" for name, value in values.items())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0")

"""Retry strategies as texts, such as ``attempts=5 base_s=2 jitter=false backoff=linear``."""

from difflib import get_close_matches
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

from domain.pipeline.retries import Strategy
from ops.config.setting_values import accepted

_HINTS = get_type_hints(Strategy, include_extras=True)

FORM = f"NAME=VALUE with blanks between, of {', '.join(_HINTS)}"


def parse(text: str, default: Strategy) -> Strategy:
    """The strategy that differs from ``default`` in what ``text`` names.

    Raises:
        ValueError: the message says which part is not accepted, and what is.
    """
    changes: dict[str, Any] = {}
    for part in text.split():
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{part!r} is not NAME=VALUE")
        if name not in _HINTS:
            close = get_close_matches(name, _HINTS, 1)
            hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(_HINTS)}"
            raise ValueError(f"there is no {name!r}: {hint}")
        if name in changes:
            raise ValueError(f"{name} is named twice")
        try:
            changes[name] = msgspec.convert(value, _HINTS[name], strict=False)
        except msgspec.ValidationError as error:
            takes = accepted(inspect.type_info(_HINTS[name]))
            raise ValueError(f"{name} is {value!r}, but takes {takes}") from error
    return msgspec.structs.replace(default, **changes)


def text_of(strategy: Strategy) -> str:
    """All of the strategy, as ``parse`` reads it."""
    values = msgspec.structs.asdict(strategy)
    return " ".join(f"{name}={_text(value)}" for name, value in values.items())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0")

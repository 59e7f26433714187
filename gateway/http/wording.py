"""Translate libraries' messages about invalid input into the terms of this API.

msgspec and Litestar name Python types and quote them as code; callers know JSON and addresses.
"""

import re
from collections.abc import Callable

_TYPES = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
    "datetime": "a time such as 2026-11-23T10:00:00Z",
    "uuid": "a UUID",
}

_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


def _named(found: re.Match[str]) -> str:
    return _kind(found[1]) + (f" (got {_kind(found[2])})" if found[2] else "")


def _kind(types: str) -> str:
    return " or ".join(_TYPES.get(each.strip(), each.strip()) for each in types.split("|"))


_TRANSLATIONS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (
        r"Expected `(?:int|float)(?: \| null)?` (>=|<=|>|<) (\S+)",
        lambda found: f"must be {_BOUNDS[found[1]]} {found[2]}",
    ),
    (
        r"Expected `(\w+)(?: \| null)?` of length (>=|<=|>|<) (\d+)",
        lambda found: (
            f"must have {_BOUNDS[found[2]]} {found[3]} "
            + ("character" if found[1] == "str" else "item")
            + ("" if found[3] == "1" else "s")
        ),
    ),
    (
        r"Expected `str(?: \| null)?` matching regex .*",
        lambda _: "has characters or a length that are not allowed",
    ),
    (r"Expected `datetime` with a timezone component", lambda _: "must have an offset from UTC"),
    (r"Expected `([^`]+)`(?:, got `([^`]+)`)?", lambda found: f"must be {_named(found)}"),
    (r"Invalid RFC3339 encoded datetime", lambda _: f"must be {_TYPES['datetime']}"),
    (r"Invalid enum value (.*)", lambda found: f"cannot be {found[1]}"),
    (r"'data'", lambda _: "is missing"),
    (r"Object missing required field `(\w+)`", lambda found: f"the field {found[1]} is missing"),
    (r"Object contains unknown field `(\w+)`", lambda found: f"unknown field {found[1]}"),
    (
        r"Missing required (\w+) parameter '([^']+)'.*",
        lambda found: f"the {found[1]} parameter {found[2]} is missing",
    ),
)


def in_our_words(message: str) -> str:
    """Translate a library's ``message``; an unknown one only loses its backticks."""
    for pattern, say in _TRANSLATIONS:
        if found := re.fullmatch(pattern, message, re.DOTALL):
            return say(found)
    return message.replace("`", "")

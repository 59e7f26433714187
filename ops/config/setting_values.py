"""Describe in words which values a setting accepts."""

import re

from msgspec import Meta, inspect

from ops.config.bounds import FORMATS

SECRET = Meta(extra={"shown": "masked"})
"""Marks a setting whose value is never shown."""

WITHOUT_PASSWORD = Meta(extra={"shown": "without password"})
"""Marks a URL whose password is never shown."""


def accepted(kind: inspect.Type) -> str:
    """Return what completes "must be …"."""
    match kind:
        case inspect.Metadata():
            return accepted(kind.type)
        case inspect.UnionType():
            return " or ".join(
                accepted(t) for t in kind.types if not isinstance(t, inspect.NoneType)
            )
        case inspect.LiteralType():
            return f"one of {', '.join(str(value) for value in kind.values)}"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _range(kind)
        case inspect.FloatType():
            return "a number" + _range(kind)
        case inspect.StrType(pattern=pattern) if pattern == FORMATS:
            return f"names of {', '.join(re.findall(r'[A-Z][A-Za-z]+', FORMATS))}, with spaces"
        case inspect.StrType(pattern=str(pattern)):
            *schemes, last = (
                pattern.removeprefix("^(").removesuffix(")://").replace("\\", "").split("|")
            )
            named = ", ".join(f"{scheme}://" for scheme in schemes)
            return f"a URL that begins with {named} or {last}://"
        case inspect.StrType(min_length=int(least)) if least > 1:
            return f"text of at least {least} characters"
        case _:
            return "text"


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.gt is not None:
        return f" above {kind.gt:g}" + (f", at most {kind.le:.15g}" if kind.le is not None else "")
    return f" from {kind.ge}" + (f" to {kind.le:.15g}" if kind.le is not None else "")

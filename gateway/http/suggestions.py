"""Lead on from an address or method that does not exist to those that do.

The work for one wrong address is bounded: long ones are not compared.
"""

import difflib
import re
from functools import lru_cache
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

API = "/api"
LONGEST = 120
"""The longest address, in characters, that is compared with others."""

MOST_PARTS = 8
LEAST_ALIKE = 0.7
"""How alike two parts of addresses must be, from 0 to 1."""

_PARAMETER = re.compile(r"{(\w+)(:\w+)?}")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One address of the API; ``methods`` has the summary of each, such as "Get a photo"."""

    template: str
    parts: tuple[str, ...]
    methods: tuple[tuple[str, str], ...]


def near(app: Litestar, path: str) -> str:
    """Return advice that names the address most like ``path``; empty if none is."""
    wanted = _parts(path)
    if not 0 < len(wanted) <= MOST_PARTS or len(path) > LONGEST:
        return ""
    candidates = (wanted, _parts(f"{API}{path}"))
    best = max(
        ((_likeness(each, address.parts), address) for each in candidates for address in _all(app)),
        key=lambda found: found[0],
        default=None,
    )
    if best is None or best[0] < LEAST_ALIKE:
        return ""
    return f"Did you mean {best[1].template}? /docs lists all addresses."


def instead(app: Litestar, path: str) -> str:
    """Return advice that says what the address ``path`` supports, and what addresses under it do.

    Empty if the address is not one of the API.
    """
    parts = _parts(path)
    here = next((each for each in _all(app) if _is_at(parts, each.parts)), None)
    if here is None:
        return ""
    offered = [f"{method} ({summary})" for method, summary in here.methods]
    offered += [
        f"{method} {each.template} ({summary})"
        for each in _all(app)
        if each.parts[:-1] == here.parts and "{" in here.parts[-1]
        for method, summary in each.methods
        if method != "GET"
    ]
    return f"Use {_any_of(offered)}."


def _any_of(offered: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(offered[:-1]), offered[-1])))


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


@lru_cache(maxsize=1)
def _all(app: Litestar) -> tuple[Address, ...]:
    """Return the documented addresses of the application."""
    found: dict[str, dict[str, str]] = {}
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            template = _PARAMETER.sub(lambda part: f"{{{_camel(part[1])}}}", route.path_format)
            for handler in route.route_handlers:
                found.setdefault(template, {}).update(_summaries(handler))
    return tuple(
        Address(template=template, parts=_parts(template), methods=tuple(sorted(methods.items())))
        for template, methods in sorted(found.items())
        if methods
    )


def _summaries(handler: HTTPRouteHandler) -> dict[str, str]:
    if not handler.include_in_schema:
        return {}
    summary: Any = handler.summary or handler.handler_name
    told = f"{summary[0].lower()}{summary[1:]}"
    return {str(method): told for method in handler.http_methods if method != "OPTIONS"}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _is_at(parts: tuple[str, ...], template: tuple[str, ...]) -> bool:
    return len(parts) == len(template) and all(
        known.startswith("{") or part == known for part, known in zip(parts, template, strict=True)
    )


def _likeness(parts: tuple[str, ...], template: tuple[str, ...]) -> float:
    """Return how alike two addresses are, from 0 to 1; one part may be missing or too many."""
    if abs(len(parts) - len(template)) > 1:
        return 0.0
    total = 0.0
    for part, known in zip(parts, template, strict=False):
        ratio = 1.0 if known.startswith("{") else _ratio(part.lower(), known)
        if ratio < LEAST_ALIKE:
            return 0.0
        total += ratio
    literal = sum(not known.startswith("{") for known in template) / 1000
    return total / max(len(parts), len(template)) + literal


@lru_cache(maxsize=1_024)
def _ratio(part: str, known: str) -> float:
    shorter, longer = sorted((len(part), len(known)))
    if part == known or 2 * shorter < LEAST_ALIKE * (shorter + longer):  # cannot be alike enough
        return float(part == known)
    return difflib.SequenceMatcher(None, part, known).ratio()

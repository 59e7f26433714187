"""Read and write rate limits: ``600/60s``, or by role ``600/60s operator=9/1s auditor=none``."""

import re

from gateway.http.rate_limits import Allowance, ByRole

NONE = "none"
ROLES = ByRole.__struct_fields__

LARGEST = 10**12
LONGEST_S = 86_400

FORM = "NUMBER/TIME, such as 600/60s or 2G/1h, or none"
FORM_BY_ROLE = f"{FORM}; for one role, such as operator=1200/60s"

_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_WINDOWS = {"s": 1, "m": 60, "h": 3_600}
_RATE = re.compile(r"(?P<tokens>\d{1,13})(?P<factor>[kMG]?)B?/(?P<window>\d{0,5})(?P<unit>[smh])")


def parse(text: str) -> Allowance | None:
    """Return the rate limit; ``none`` and ``0`` mean no limit.

    Raises:
        ValueError: the text is not a rate; the message says what is accepted.
    """
    if text in (NONE, "0"):
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a rate: use {FORM}")
    tokens = int(found["tokens"]) * _FACTORS[found["factor"]]
    window_s = int(found["window"] or 1) * _WINDOWS[found["unit"]]
    if tokens == 0:
        return None
    if tokens > LARGEST:
        raise ValueError(f"{text!r} allows more than {LARGEST} tokens: use none for no limit")
    if not 1 <= window_s <= LONGEST_S:
        raise ValueError(f"the time of {text!r} must be between 1 and {LONGEST_S} seconds")
    return Allowance(tokens, window_s)


def parse_by_role(text: str, default: ByRole) -> ByRole:
    """Return the rate limit of each role: the one with its name, or else the one without a name.

    A role keeps its ``default`` if the text has neither.

    Raises:
        ValueError: a part of the text is wrong; the message names it and says what is accepted.
    """
    named: dict[str, Allowance | None] = {}
    for part in text.split():
        role, equals, rate = part.rpartition("=")
        if equals and role not in ROLES:
            raise ValueError(f"unknown role {role!r}: use one of {', '.join(ROLES)}")
        if role in named:
            raise ValueError(f"the rate of {role or 'all roles'} is given twice")
        named[role] = parse(rate)
    found = {role: named.get(role, named.get("", getattr(default, role))) for role in ROLES}
    return ByRole(**found)


def text_of(rate: Allowance | None) -> str:
    """Return the text that ``parse`` reads."""
    return NONE if rate is None else f"{rate.tokens}/{rate.window_s}s"


def text_by_role(rates: ByRole) -> str:
    """Return the text that ``parse_by_role`` reads, with every role."""
    return " ".join(f"{role}={text_of(getattr(rates, role))}" for role in ROLES)

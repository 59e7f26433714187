"""What all lists have in common: the length of a page, and where it begins."""

from typing import Annotated

from litestar.params import QueryParameter

from gateway.http.problems import Refused

PAGE = 50

Limit = Annotated[int, QueryParameter(name="limit", ge=1, description="200 at most.")]
Cursor = Annotated[
    str | None, QueryParameter(name="cursor", description="`nextCursor` of the page before.")
]
ClientId = Annotated[str | None, QueryParameter(name="clientId")]


def bounded(limit: int, longest: int) -> int:
    """The limit; raises Refused, ``invalid-limit``, if it is beyond the longest page."""
    if limit > longest:
        raise Refused("invalid-limit", f"A page has {longest} items at most.")
    return limit

"""Parameters that all lists share: the length of a page, and where it begins."""

from typing import Annotated, Literal

from litestar.params import QueryParameter

from gateway.http.problems import Refused

PAGE = 50

Limit = Annotated[int, QueryParameter(name="limit", ge=1, description="At most 200.")]
Cursor = Annotated[
    str | None, QueryParameter(name="cursor", description="`nextCursor` of the previous page.")
]
SortOrder = Annotated[
    Literal["newest", "oldest"], QueryParameter(name="sort", description="By time.")
]
ClientId = Annotated[str | None, QueryParameter(name="clientId")]


def bounded(limit: int, longest: int) -> int:
    """Return the limit; raises Refused, ``invalid-limit``, if it exceeds the longest page."""
    if limit > longest:
        raise Refused("invalid-limit", f"A page has at most {longest} items (got {limit}).")
    return limit

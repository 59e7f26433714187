"""Compare the problems that routes return with those that the OpenAPI document lists."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from litestar import Litestar

from gateway.http.problem_table import PROBLEMS
from gateway.http.problems import MEDIA_TYPE


def codes(operation: dict[str, Any]) -> set[str]:
    """Return the codes of the problems that an operation may return."""
    return {
        code
        for status, response in operation["responses"].items()
        if int(status) >= 400
        for code in response["description"].split("`")[1::2]
    }


_addresses: list[tuple[re.Pattern[str], dict[str, set[str]]]] = []


def checking(app: Litestar) -> Callable[[httpx.Response], Awaitable[None]]:
    """Return an httpx hook that fails a test if a route returns a code that it does not list."""

    async def check(response: httpx.Response) -> None:
        if response.headers.get("Content-Type") != MEDIA_TYPE or response.request.method == "HEAD":
            return
        code = httpx.Response(200, content=await response.aread()).json()["code"]
        request = response.request
        for pattern, listed in _listed(app):
            named = listed.get(request.method)
            if named is not None and pattern.fullmatch(request.url.path):
                assert code in named, f"{request.method} {request.url.path} returns {code}"
                return

    return check


def _listed(app: Litestar) -> list[tuple[re.Pattern[str], dict[str, set[str]]]]:
    """Return a pattern of each address, with the codes that it lists for each method.

    Addresses without parameters come first, because they precede others that match.

    The document is built once per process: all applications have the same routes and problems.
    """
    if not _addresses:
        document = app.openapi_schema.to_schema()
        anywhere = PROBLEMS.keys() & set(document["info"]["description"].split("`"))
        for path, item in sorted(document["paths"].items(), key=lambda each: "{" in each[0]):
            # A session id may contain slashes.
            part = ".+" if "/sessions/" in path else "[^/]+"
            listed = {
                method.upper(): codes(operation) | anywhere for method, operation in item.items()
            }
            _addresses.append((re.compile(re.sub(r"{\w+}", part, path)), listed))
    return _addresses

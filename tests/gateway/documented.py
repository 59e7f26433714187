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


def checking(app: Litestar) -> Callable[[httpx.Response], Awaitable[None]]:
    """Return an httpx hook that fails a test if a route returns a code that it does not list."""
    document = app.openapi_schema.to_schema()
    anywhere = PROBLEMS.keys() & set(document["info"]["description"].split("`"))
    addresses = [
        # A session id may contain slashes.
        (re.compile(re.sub(r"{\w+}", ".+" if "/sessions/" in path else "[^/]+", path)), item)
        for path, item in document["paths"].items()
    ]

    async def check(response: httpx.Response) -> None:
        if response.headers.get("Content-Type") != MEDIA_TYPE or response.request.method == "HEAD":
            return
        code = httpx.Response(200, content=await response.aread()).json()["code"]
        request = response.request
        for pattern, item in addresses:
            operation = item.get(request.method.lower())
            if operation and pattern.fullmatch(request.url.path):
                named = codes(operation) | anywhere
                assert code in named, f"{request.method} {request.url.path} returns {code}"

    return check

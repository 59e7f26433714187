"""Serve Photolog's web page: the files in ``gateway/web/pages``, unchanged.

A browser revalidates them each time, which transfers no bytes while the ETag, the SHA-256 of the
file, is the same. They need no token, but the API calls that they make do.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from gateway.dependencies import Dependencies
from gateway.http.problems import Damages, Refused, problem_response
from gateway.limits.throttling import PAGE

FOLDER = Path(__file__).parent / "pages"
INDEX = "index.html"
NOT_FOUND = "not-found.html"
"""Shown to a person whose address has no page."""

MIME_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:{links}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One file, with its headers."""

    body: bytes
    mime_type: str
    etag: str

    def headers(self, link_origin: str | None = None) -> dict[str, str]:
        """Return the headers; ``link_origin`` is a further origin that may serve pictures."""
        return {
            "ETag": self.etag,
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": POLICY.format(
                links=f" {link_origin}" if link_origin else ""
            ),
        }

    def described(self) -> dict[str, str]:
        """Return the headers that describe the body."""
        return {"Content-Type": self.mime_type, "Content-Length": str(len(self.body))}


@cache
def pages() -> Mapping[str, Page]:
    """Return the files by name, read once: a running gateway never mixes two versions."""
    return {
        path.name: Page(
            body=(body := path.read_bytes()),
            mime_type=MIME_TYPES[path.suffix],
            etag=f'"{hashlib.sha256(body).hexdigest()}"',
        )
        for path in sorted(FOLDER.iterdir())
    }


@get("/", exclude_from_auth=True, include_in_schema=False, opt=PAGE)
async def index(deps: NamedDependency[Dependencies]) -> ASGIResponse:
    return _answer(pages()[INDEX], deps.blobs.link_origin)


@get("/pages/{name:str}", exclude_from_auth=True, include_in_schema=False, opt=PAGE)
async def part(name: FromPath[str]) -> ASGIResponse:
    page = pages().get(name)
    if page is None:
        raise Refused("not-found", f"The page has no file {name[:64]!r}.")
    return _answer(page)


def error_response(
    request: Request[Any, Any, Any], error: Exception, damages: Damages
) -> Response[Any]:
    """Return the problem document of an error, or a web page if a browser finds nothing."""
    answer = problem_response(request, error, damages)
    wants_page = "text/html" in request.headers.get("accept", "")
    if not (wants_page and answer.content.code == "not-found"):
        return answer
    page = pages()[NOT_FOUND]
    headers = {name: value for name, value in page.headers().items() if name != "ETag"}
    return Response(page.body, status_code=404, headers=headers | page.described())


def _answer(page: Page, link_origin: str | None = None) -> ASGIResponse:
    return ASGIResponse(body=page.body, headers=page.headers(link_origin) | page.described())


ROUTES = (index, part)

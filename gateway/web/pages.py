"""Serve Photolog's web pages: the files in ``gateway/web/pages`` and its folders.

Files are found by their name in a list that is made once, never by a path from the request.

A browser keeps a file whose address has its version, and revalidates the others each time, which
transfers no bytes while the ETag, the SHA-256 of the file, is the same. Files need no token, but
the API calls that they make do.
"""

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from gateway.access.oidc.config import BEGIN
from gateway.dependencies import Dependencies
from gateway.http.compressed import accepts_gzip
from gateway.http.problems import Damages, Refused, problem_response
from gateway.limits.throttling import PAGE
from gateway.web import assembly

FOLDER = Path(__file__).parent / "pages"
INDEX = "index.html"
KEPT = "public, max-age=31536000, immutable"
NOT_FOUND = "not-found.html"
"""Shown to a person whose address has no page."""

SIGN_IN_FAILED = "sign-in-failed.html"
"""Shown to a person whose sign-in at a provider failed; a script reads the code and says why."""

MIME_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:{links}",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One file, with its headers; ``packed`` is its body in gzip, if that is smaller."""

    body: bytes
    mime_type: str
    etag: str
    packed: bytes | None = None
    varies: str = "Accept-Encoding"

    def headers(self, link_origin: str | None = None, *, is_kept: bool = False) -> dict[str, str]:
        """Return the headers.

        ``link_origin`` is a further origin that may serve pictures. ``is_kept``: the address never
        names another content.
        """
        return {
            "ETag": self.etag,
            "Cache-Control": KEPT if is_kept else "no-cache",
            "Vary": self.varies,
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": POLICY.format(
                links=f" {link_origin}" if link_origin else ""
            ),
        }

    def described(self) -> dict[str, str]:
        """Return the headers that describe the body."""
        return {"Content-Type": self.mime_type, "Content-Length": str(len(self.body))}

    def in_gzip(self) -> "Page":
        """Return the page as it is sent to a browser that reads gzip."""
        if self.packed is None:
            return self
        return msgspec.structs.replace(self, body=self.packed, etag=f'{self.etag[:-1]}-gzip"')


@cache
def files() -> Mapping[str, bytes]:
    """Return the files by name as they are written, read once: versions are never mixed.

    The name of a file in a folder is ``<folder>/<name>``; there is one level of folders.
    """
    return {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in sorted((*FOLDER.glob("*.*"), *FOLDER.glob("*/*.*")))
    }


@cache
def pages() -> Mapping[str, Page]:
    """Return the files by name as they are sent, and the joined style sheet of each page."""
    written = files()
    joined = {
        assembly.sheet_of(name): assembly.joined_sheets(written, name)
        for name in written
        if name.endswith(".html")
    }
    modules = {
        name: assembly.undescribed(body) for name, body in written.items() if name.endswith(".js")
    }
    return {name: _page(name, body) for name, body in {**written, **modules, **joined}.items()}


@cache
def assembled(name: str, language: str) -> Page:
    """Return a page as it is sent to a browser in the language."""
    page = _page(name, assembly.assembled(files(), name, language))
    return msgspec.structs.replace(page, varies=f"{page.varies}, Accept-Language")


@cache
def version() -> str:
    """Return the version of all files, which is in the addresses that a browser keeps."""
    return assembly.version_of(files())


def _page(name: str, body: bytes) -> Page:
    return Page(
        body=body,
        mime_type=MIME_TYPES[Path(name).suffix],
        etag=f'"{hashlib.sha256(body).hexdigest()}"',
        packed=_packed(body),
    )


def _packed(body: bytes) -> bytes | None:
    packed = gzip.compress(body, mtime=0)
    return packed if len(packed) < len(body) else None


def page_route(path: str, name: str) -> HTTPRouteHandler:
    """Return a route that serves the page ``name`` (a key of :func:`files`) at ``path``.

    It needs no token: the page asks the API who is signed in, and what they may see.
    """

    @get(path, exclude_from_auth=True, include_in_schema=False, opt=PAGE)
    async def page(
        request: Request[Any, Any, Any], deps: NamedDependency[Dependencies]
    ) -> ASGIResponse:
        return _answer(request, _for_browser(request, name), deps.blobs.link_origin)

    return page


index = page_route("/", INDEX)
console = page_route("/console", "console.html")
docs = page_route("/docs", "docs.html")


@get("/pages/{name:str}", exclude_from_auth=True, include_in_schema=False, opt=PAGE)
async def part(request: Request[Any, Any, Any], name: FromPath[str]) -> ASGIResponse:
    return _part(request, name)


@get("/pages/{folder:str}/{name:str}", exclude_from_auth=True, include_in_schema=False, opt=PAGE)
async def part_in_folder(
    request: Request[Any, Any, Any], folder: FromPath[str], name: FromPath[str]
) -> ASGIResponse:
    if assembly.VERSION.fullmatch(folder):
        return _part(request, name, of=folder)
    return _part(request, f"{folder}/{name}")


@get(
    "/pages/{of:str}/{folder:str}/{name:str}",
    exclude_from_auth=True,
    include_in_schema=False,
    opt=PAGE,
)
async def part_of_version(
    request: Request[Any, Any, Any],
    of: FromPath[str],
    folder: FromPath[str],
    name: FromPath[str],
) -> ASGIResponse:
    if not assembly.VERSION.fullmatch(of):
        raise _no_file(f"{of}/{folder}/{name}")
    return _part(request, f"{folder}/{name}", of=of)


def _part(request: Request[Any, Any, Any], name: str, *, of: str | None = None) -> ASGIResponse:
    """Answer with the file, which a browser keeps if ``of`` is its version.

    During an upgrade a page may come from a gateway of another version. Its files do then come from
    this one, but are not kept: most changes let both versions work together, and a missing module
    never does.
    """
    page = pages().get(name)
    if page is None:
        raise _no_file(name)
    return _answer(request, page, is_kept=of == version())


def _no_file(name: str) -> Refused:
    return Refused("not-found", f"The page has no file {name[:64]!r}.")


def _for_browser(request: Request[Any, Any, Any], name: str) -> Page:
    language = assembly.language_of(request.headers.get("accept-language", ""))
    return assembled(name, language)


def error_response(
    request: Request[Any, Any, Any], error: Exception, damages: Damages
) -> Response[Any]:
    """Return the problem document of an error.

    A browser that finds nothing, or does not get signed in, gets a web page.
    """
    answer = problem_response(request, error, damages)
    code = answer.content.code
    is_sign_in = request.url.path.startswith(BEGIN)
    if "text/html" not in request.headers.get("accept", "") or not (
        is_sign_in or code == "not-found"
    ):
        return answer
    page = _for_browser(request, SIGN_IN_FAILED if is_sign_in else NOT_FOUND)
    page = msgspec.structs.replace(
        page, body=page.body.replace(b'data-code=""', f'data-code="{code}"'.encode())
    )
    headers = {name: value for name, value in page.headers().items() if name != "ETag"}
    kept = {name: value for name, value in answer.headers.items() if name == "Retry-After"}
    return Response(
        page.body, status_code=answer.status_code, headers=headers | page.described() | kept
    )


def _answer(
    request: Request[Any, Any, Any],
    page: Page,
    link_origin: str | None = None,
    *,
    is_kept: bool = False,
) -> ASGIResponse:
    headers = page.headers(link_origin, is_kept=is_kept)
    if page.packed is not None and accepts_gzip(request.headers.get("accept-encoding", "")):
        page = page.in_gzip()
        headers |= {"ETag": page.etag, "Content-Encoding": "gzip"}
    return ASGIResponse(body=page.body, headers=headers | page.described())


ROUTES = (index, console, docs, part, part_in_folder, part_of_version)

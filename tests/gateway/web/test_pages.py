"""The files of the page, as a program requests them."""

import posixpath
import re

import pytest

from gateway.http.rate_limits import PAGE_FILES
from gateway.web import assembly
from gateway.web.pages import FOLDER, files, pages, version
from tests.gateway.conftest import Gateway

PLAIN = {"Accept-Encoding": "identity"}
PATHS = ["/", *(f"/pages/{name}" for name in pages())]
HEADERS = ("content-type", "content-length", "etag", "cache-control", "content-security-policy")


@pytest.fixture(scope="module")
def gateway(shared_gateway: Gateway) -> Gateway:
    return shared_gateway


@pytest.mark.parametrize("path", PATHS)
async def test_a_head_has_the_headers_of_the_file_alone(gateway: Gateway, path: str) -> None:
    whole = await gateway.client.get(path, headers=PLAIN)
    head = await gateway.client.head(path, headers=PLAIN)

    assert (whole.status_code, head.status_code, head.content) == (200, 200, b"")
    assert [head.headers[name] for name in HEADERS] == [whole.headers[name] for name in HEADERS]
    assert int(head.headers["Content-Length"]) == len(whole.content) > 0


@pytest.mark.parametrize("path", PATHS)
async def test_a_head_of_an_unchanged_file_is_304(gateway: Gateway, path: str) -> None:
    etag = (await gateway.client.head(path)).headers["ETag"]

    answer = await gateway.client.head(path, headers={"If-None-Match": etag})

    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/pages/nothing.js",
        "/pages/nothing/app.js",
        "/pages/.%2E/pages.py",
        "/pages/%2E%2E/pages.py",
        "/pages/%2E%2E%2Fpages.py",
        "/pages/a/b/app.js",
    ],
)
async def test_only_listed_files_are_served(gateway: Gateway, path: str) -> None:
    answer = await gateway.client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize("accepts", ["gzip;q=0", "br, gzip; q=0.000", "x-gzip", "identity"])
async def test_a_client_that_does_not_want_gzip_gets_none(gateway: Gateway, accepts: str) -> None:
    answer = await gateway.client.get("/pages/app.js", headers={"Accept-Encoding": accepts})

    assert "Content-Encoding" not in answer.headers


async def test_a_browser_gets_a_file_in_gzip(gateway: Gateway) -> None:
    plain = await gateway.client.get("/pages/app.js", headers=PLAIN)
    packed = await gateway.client.get("/pages/app.js", headers={"Accept-Encoding": "gzip, br"})

    assert (packed.headers["Content-Encoding"], packed.content) == ("gzip", plain.content)
    assert int(packed.headers["Content-Length"]) < len(plain.content) / 2
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


NAMED = re.compile(r'="(/pages/[^"]+)"')


@pytest.mark.parametrize("path", ["/", "/console"])
async def test_a_browser_keeps_each_file_that_a_page_loads(gateway: Gateway, path: str) -> None:
    page = await gateway.client.get(path)

    kept = [name for name in NAMED.findall(page.text) if name.endswith((".js", ".css", ".svg"))]
    assert page.headers["Cache-Control"] == "no-cache"
    assert len(kept) > 10
    for name in kept:
        answer = await gateway.client.get(name)
        assert answer.status_code == 200, name
        assert "immutable" in answer.headers["Cache-Control"], name


async def test_a_file_of_another_version_is_served_but_not_kept(gateway: Gateway) -> None:
    for name in ("app.js", "texts/en.js"):
        other = await gateway.client.get(f"/pages/{'0' * 16}/{name}")
        plain = await gateway.client.get(f"/pages/{name}")

        assert (other.status_code, other.content) == (200, plain.content)
        assert other.headers["Cache-Control"] == plain.headers["Cache-Control"] == "no-cache"
    assert (await gateway.client.get(f"/pages/{version()}/nothing.js")).status_code == 404


def test_the_version_changes_with_each_file() -> None:
    written = dict(files())
    before = assembly.version_of(written)
    written["app.js"] += b"\n"
    assert assembly.version_of(written) != before
    assert assembly.VERSION.fullmatch(before)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("fr-CH, de-AT;q=0.9, en;q=0.8", "de"),
        ("fr", "en"),
        ("EN-us", "en"),
    ],
)
async def test_the_texts_of_the_browser_s_language_are_preloaded(
    gateway: Gateway, accepted: str, language: str
) -> None:
    page = await gateway.client.get("/", headers={"Accept-Language": accepted})

    assert re.findall(r"/texts/([\w-]+)\.js", page.text) == [language]
    assert page.headers["Vary"] == "Accept-Encoding, Accept-Language"


def test_there_are_texts_in_each_language() -> None:
    found = {path.stem for path in (FOLDER / "texts").glob("*.js")}

    assert found == {f"{kind}{each}" for kind in ("", "console-") for each in assembly.LANGUAGES}


def test_the_style_sheets_of_a_page_are_joined_in_their_order() -> None:
    names = re.findall(r'"stylesheet" href="/pages/([^"]+)"', files()["index.html"].decode())

    assert len(names) > 1
    assert pages()["index.css"].body == b"".join(files()[name] for name in names)


def test_modules_are_sent_without_the_comments_that_describe_them() -> None:
    written = b"""/** A module. */
const one = /** @type {number} */ (read());

/**
 * @param {string} name
 */
function say(name) {
  // Not so loud.
  return `${name}/* */`; /** at the end */
}
/** @type {number} */ (two).three = 4;
"""

    sent = assembly.undescribed(written).decode().splitlines()

    assert sent == [
        "",
        "const one = /** @type {number} */ (read());",
        *("", "", "", ""),
        "function say(name) {",
        "  // Not so loud.",
        "  return `${name}/* */`; /** at the end */",
        "}",
        "/** @type {number} */ (two).three = 4;",
    ]


def test_each_module_is_sent_with_all_its_code_on_its_lines() -> None:
    for name in (name for name in files() if name.endswith(".js")):
        written = files()[name].decode().splitlines()
        sent = pages()[name].body.decode().splitlines()

        assert len(sent) == len(written), name
        left_out = {line for line, other in zip(written, sent, strict=True) if line != other}
        assert all(re.match(r"\s*(/\*\*| \*|\*/)", line) for line in left_out), name


def test_a_module_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"gone\.js"):
        assembly.modules({"app.js": b'import { a } from "./gone.js";\n'}, ["app.js"], "en")


IMPORTED = re.compile(r"""(?:from |import |import\()"(\.{1,2}/[^"]+)\"""")


def modules_of(page: str) -> set[str]:
    """Return the modules that a page may ever load."""
    found: list[str] = re.findall(
        r'<script type="module"[^>]* src="/pages/([^"]+)"', files()[page].decode()
    )
    for name in found:  # grows meanwhile
        folder = posixpath.dirname(name)
        imported: list[str] = IMPORTED.findall(files()[name].decode())
        found += {posixpath.normpath(posixpath.join(folder, each)) for each in imported} - {*found}
    return set(found)


def test_a_visit_loads_fewer_files_than_the_lowest_limit_allows() -> None:
    others = {name for name in pages() if not name.endswith(".js")}
    of_photos = modules_of("index.html")
    assert {"viewer.js", "zoom.js", "texts/de.js"} < of_photos

    for page in (name for name in files() if name.endswith(".html")):
        assert len(modules_of(page) | others) < PAGE_FILES, page


async def test_a_head_of_an_unknown_address_is_404(gateway: Gateway) -> None:
    for accept in ("text/html", "*/*"):
        answer = await gateway.client.head("/nothing", headers={"Accept": accept})

        assert (answer.status_code, answer.content) == (404, b"")

"""The files of the page, as a program requests them."""

from collections.abc import AsyncGenerator

import pytest

from gateway.web.pages import pages
from tests.gateway.conftest import Gateway, standing

PATHS = ["/", *(f"/pages/{name}" for name in pages())]
HEADERS = ("content-type", "content-length", "etag", "cache-control", "content-security-policy")


@pytest.fixture(scope="module")
async def gateway(
    valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Gateway]:
    """One gateway for all tests of this module."""
    async with standing(valkey_url, tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.mark.parametrize("path", PATHS)
async def test_a_head_has_the_headers_of_the_file_alone(gateway: Gateway, path: str) -> None:
    whole = await gateway.client.get(path)
    head = await gateway.client.head(path)

    assert (whole.status_code, head.status_code, head.content) == (200, 200, b"")
    assert [head.headers[name] for name in HEADERS] == [whole.headers[name] for name in HEADERS]
    assert int(head.headers["Content-Length"]) == len(whole.content) > 0


@pytest.mark.parametrize("path", PATHS)
async def test_a_head_of_an_unchanged_file_is_304(gateway: Gateway, path: str) -> None:
    etag = (await gateway.client.head(path)).headers["ETag"]

    answer = await gateway.client.head(path, headers={"If-None-Match": etag})

    assert (answer.status_code, answer.content) == (304, b"")


async def test_a_head_of_an_unknown_address_is_404(gateway: Gateway) -> None:
    for accept in ("text/html", "*/*"):
        answer = await gateway.client.head("/nothing", headers={"Accept": accept})

        assert (answer.status_code, answer.content) == (404, b"")

"""A file in an unsupported format is named and rejected before the rest of it arrives."""

import re

import msgspec
import pytest
from hypothesis import Phase, find, settings
from hypothesis import strategies as st

from domain.photo import formats
from domain.photo.formats import HEAD_BYTES, refusal, sniff, unsupported
from gateway.http.limits import Limits
from tests.gateway.conftest import Gateway
from tests.gateway.wire import connected, request

FILE_BYTES = 50_000_000
"""As announced; only the first ``HEAD_BYTES`` of them are sent."""

PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'

TABLE: dict[str, re.Pattern[bytes]] = dict(vars(formats)["_UNSUPPORTED"])

ANY = settings(phases=[Phase.generate], database=None, derandomize=True)
"""The first example will do."""


@pytest.fixture
def projecting() -> bool:
    return False


@pytest.fixture
def limits() -> Limits:
    return Limits(linger_s=0.05)


def beginning(name: str) -> bytes:
    """Return the first bytes of a file in that format."""

    def is_like(head: bytes) -> bool:
        return sniff(padded(head)) is None and unsupported(padded(head)) == name

    # Hypothesis writes no bytes in either case.
    pattern = re.compile(TABLE[name].pattern, re.DOTALL)
    return padded(find(st.from_regex(pattern), is_like, settings=ANY))


def padded(head: bytes) -> bytes:
    return head.ljust(HEAD_BYTES, b"\0")[:HEAD_BYTES]


async def test_every_format_of_the_table_is_named_before_the_file_has_arrived(
    gateway: Gateway,
) -> None:
    for head in [*map(beginning, TABLE), b"not a picture, whatever its name says".ljust(99)]:
        status, problem = await rejected(gateway, head[:HEAD_BYTES])

        assert (status, problem["code"]) == (415, "unsupported-type")
        assert problem["detail"] == refusal(head)
    assert gateway.stored() == []


async def rejected(gateway: Gateway, head: bytes) -> tuple[int, dict[str, str]]:
    """Return the answer to an upload of which only the first bytes are ever sent."""
    async with connected(gateway) as wire:
        await wire.send(request(gateway, len(PART) + FILE_BYTES) + PART + head)
        answer, body = await wire.answer(), await wire.rest()
    return int(answer.split()[1]), msgspec.json.decode(body)

"""Any bytes, in any pieces, give a form or a rejection."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Request

from domain.rejections import Rejected
from gateway.http.limits import Limits
from gateway.http.problems import Refused
from gateway.uploads.forms import Form, receive_form
from store.blobs.folder import FolderBlobs
from tests.gateway.conftest import picture

LIMITS = Limits(max_upload_bytes=2_000, max_fields=4, max_field_bytes=500)
PICTURE = picture()
VALID = (
    b'--x\r\nContent-Disposition: form-data; name="sessionId"\r\n\r\ntrip\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="\xc3\xbc.png"\r\n\r\n'
    b"%b\r\n"
    b'--x\r\nContent-Disposition: form-data; name="priority"\r\n\r\n7\r\n--x--\r\n' % PICTURE
)


async def receive(folder: Path, pieces: Sequence[bytes]) -> tuple[Form, str]:
    """Return the form of a body that arrives in these pieces, and the SHA-256 of its file."""
    left = list(pieces)
    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"content-type", b"multipart/form-data; boundary=x")],
    }

    async def next_piece() -> Any:
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async with FolderBlobs(folder).draft("originals/ab/abc") as draft:
        form = await receive_form(Request[Any, Any, Any](scope, next_piece), draft, LIMITS)
        await draft.flush()
        return form, draft.sha256


def pieces_of(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(body) + 1) for cut in cuts}), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


SLOWLY = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOWLY
@given(cuts=st.lists(st.integers(0, len(VALID)), max_size=40))
def test_a_form_is_the_same_in_any_pieces(tmp_path: Path, cuts: list[int]) -> None:
    whole = anyio.run(receive, tmp_path, [VALID])

    cut = anyio.run(receive, tmp_path, pieces_of(VALID, cuts))

    assert cut == whole
    assert (cut[0].session_id, cut[0].priority, cut[0].filename) == ("trip", 7, "ü.png")


@SLOWLY
@given(
    body=st.binary(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                *(b"--x", b"--", b"\r\n", b"\r\n\r\n", b"\n", b'name="file"', PICTURE, b";", b":"),
                b"Content-Disposition: form-data; ",
                b"Content-Length: 5",
            ]
        ),
        max_size=30,
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 1000), max_size=10),
)
def test_any_body_is_a_form_or_rejected(tmp_path: Path, body: bytes, cuts: list[int]) -> None:
    with suppress(Refused, Rejected):
        anyio.run(receive, tmp_path, pieces_of(body, cuts))

    assert list((tmp_path / "drafts").iterdir()) == []


@SLOWLY
@given(cut=st.integers(0, len(VALID) - 5))
def test_a_form_that_ends_early_is_rejected(tmp_path: Path, cut: int) -> None:
    with pytest.raises(Refused) as refused:
        anyio.run(receive, tmp_path, [VALID[:cut]])

    assert refused.value.code in ("malformed-multipart", "missing-file")

"""One table: how senders write the name of a file, and which name is shown for it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.photo.events import PhotoUploaded
from gateway.http.limits import Limits
from gateway.uploads.filenames import UNNAMED, clean
from gateway.uploads.part_header import InvalidHeader, parse
from tests.gateway.conftest import Gateway, picture

MAX_BYTES = Limits().filename_max

NAMES: list[tuple[bytes, str]] = [
    # Browsers: UTF-8, with three characters encoded and backslashes as they are.
    (b'name="file"; filename="a.jpg"', "a.jpg"),
    ('name="file"; filename="日本 é.jpg"'.encode(), "日本 é.jpg"),
    (b'name="file"; filename="%22a%22.jpg"', '"a".jpg'),
    (b'name="file"; filename="a%0D%0Ab%0a.jpg"', "ab.jpg"),
    (b'name="file"; filename="50%25 %41.jpg"', "50%25 %41.jpg"),
    (b'name="file"; filename="C:\\fakepath\\x.jpg"', "x.jpg"),
    (b'name="file"; filename="\\\\server\\share\\x.jpg"', "x.jpg"),
    (b'name="file"; filename="C:\\folder\\"', UNNAMED),
    (b'name="file"; filename="/a/b.jpg"', "b.jpg"),
    (b'name="file"; filename="../../etc/passwd"', "passwd"),
    (b'name="file"; filename="a; b=c.jpg"', "a; b=c.jpg"),
    (b'name="file"; filename=""', UNNAMED),
    (b'name="file"', UNNAMED),
    # Quoted strings (RFC 9110), also with quotes that nobody has escaped.
    (b'name="file"; filename="\\"a\\".jpg"', '"a".jpg'),
    (b'name="file"; filename="\\"%22\\".jpg"', '"%22".jpg'),
    (b'name="file"; filename="a"b".jpg"', 'a"b".jpg'),
    (b'name="file"; filename="a\\"; name=x.jpg"', 'a"; name=x.jpg'),
    # Without quotes, with spaces, in any order and case.
    (b"name=file; filename=a.jpg", "a.jpg"),
    (b"filename = photo.jpg ; name=file", "photo.jpg"),
    (b"filename = my photo.jpg ;name = file;", "my photo.jpg"),
    (b'NAME="file";; FileName="a.jpg" ; ', "a.jpg"),
    (b'name="file"; size=7; filename=a.jpg', "a.jpg"),
    # Other encodings of the bytes.
    (b'name="file"; filename="caf\xe9.jpg"', "café.jpg"),
    (b"name=file; filename=caf\xe9.jpg", "café.jpg"),
    (b'name="file"; filename="\x93a\x94 \x80.jpg"', "“a” €.jpg"),
    (b'name="file"; filename="a\x81\xe9.jpg"', "aé.jpg"),
    # RFC 8187, which comes before filename.
    (b'name="file"; filename="u.jpg"; filename*=UTF-8\'\'%C3%BC%20%E2%82%AC.jpg', "ü €.jpg"),
    (b'filename*=utf-8\'de\'%C3%BC.jpg; filename="u.jpg"; name="file"', "ü.jpg"),
    (b"name=\"file\"; filename*=iso-8859-1'en'%A3.jpg", "£.jpg"),
    (b"name=\"file\"; FILENAME*=ISO-8859-1''caf%e9.jpg", "café.jpg"),
    (b'name="file"; filename*="UTF-8\'\'a%20b.jpg"', "a b.jpg"),
    (b"name=\"file\"; filename*=UTF-8''..%2F..%5Cetc%2Fpasswd", "passwd"),
    (b"name=\"file\"; filename*=UTF-8''a%00b%0D%0A.jpg", "ab.jpg"),
    (b"name=\"file\"; filename*=UTF-8''%E2%80%AEgpj.exe", "gpj.exe"),
    (b"name=\"file\"; filename*=UTF-8''%22a%22.jpg", '"a".jpg'),
    # An extended value that cannot be read leaves the other one.
    (b'name="file"; filename*=UTF-8\'\'%FF.jpg; filename="a.jpg"', "a.jpg"),
    (b'name="file"; filename*=UTF-8\'\'%zz.jpg; filename="a.jpg"', "a.jpg"),
    (b'name="file"; filename*=utf-16\'\'%00a; filename="a.jpg"', "a.jpg"),
    (b'name="file"; filename*=zlib_codec\'\'x; filename="a.jpg"', "a.jpg"),
    (b'name="file"; filename*=a.jpg; filename="a.jpg"', "a.jpg"),
    (b'name="file"; filename*=UTF-8\'\'; filename="a.jpg"', "a.jpg"),
    # RFC 2047, as .NET and mailers send it; anything else that looks like it is a name.
    (b'name="file"; filename="=?utf-8?B?IsO8Ii5qcGc=?="', '"ü".jpg'),
    (b"name=file; filename==?utf-8?B?w7wuanBn?=", "ü.jpg"),
    (b'name="file"; filename="=?UTF-8?q?=C3=BC_1.jpg?="', "ü 1.jpg"),
    (b'name="file"; filename="=?iso-8859-1?Q?caf=E9?= =?utf-8?b?LmpwZw?="', "café.jpg"),
    (b'name="file"; filename="=?utf-8?B?ww==?= =?utf-8?B?vC5qcGc=?="', "ü.jpg"),
    (b'name="file"; filename="=?utf-8?B?Li4vLi4vYS5qcGc=?="', "a.jpg"),
    (
        b'name="file"; filename="=?utf-8?B?w7wuanBn?="; filename*=utf-8\'\'%C3%BC.jpg',
        "ü.jpg",
    ),
    (b'name="file"; filename="=?utf-8?B?%%?=.jpg"', "=?utf-8?B?%%?=.jpg"),
    (b'name="file"; filename="=?rot13?B?YQ==?="', "=?rot13?B?YQ==?="),
    (b'name="file"; filename="=?utf-8?B?/w==?="', "w==?="),
    # Long and invisible names.
    (b'name="file"; filename="%b.jpeg"' % (b"a" * 4_000), "a" * 250 + ".jpeg"),
    (b"name=\"file\"; filename*=UTF-8''%b.jpg" % (b"%C3%BC" * 255), "ü" * 125 + ".jpg"),
    ('name="file"; filename="\u200b\u2060.\ufeff"'.encode(), UNNAMED),
    (b'name="file"; filename="\x00\x1f\x7f"', UNNAMED),
]

BAD: list[tuple[bytes, str]] = [
    (b'name="file"; filename="a.jpg', "filename has no closing quote"),
    (b'name="file', "name has no closing quote"),
    (b'filename="a.jpg"', "has no name"),
    (b'name="file"; name="other"', "the parameter 'name' twice"),
    (b'name="file"; filename="a.jpg"; FileName="b.jpg"', "the parameter 'filename' twice"),
    (b'name="file"; filename', "has no value"),
    (b'name="file"; filename="a";b.jpg"', "has no value"),
    (b"name=\"file\"; filename*=UTF-8''%FF.jpg", "filename* is not in UTF-8 or ISO-8859-1"),
    (b'name="file"; filename*=a.jpg', "filename* is not in UTF-8 or ISO-8859-1"),
]


def body(parameters: bytes, data: bytes, more: bytes = b"") -> bytes:
    head = b"Content-Disposition: form-data; " + parameters + b"\r\n" + more
    return b"--x\r\n" + head + b"\r\n" + data + b"\r\n--x--\r\n"


@pytest.mark.parametrize(("parameters", "shown"), NAMES)
def test_a_name_is_read_as_its_sender_means_it(parameters: bytes, shown: str) -> None:
    header = parse("form-data; " + parameters.decode("latin-1"))

    assert (header.name, clean(header.filename or "", MAX_BYTES)) == ("file", shown)


@pytest.mark.parametrize(("parameters", "says"), BAD)
def test_a_header_that_cannot_be_read_says_why(parameters: bytes, says: str) -> None:
    with pytest.raises(InvalidHeader) as invalid:
        parse("form-data; " + parameters.decode("latin-1"))

    assert says in str(invalid.value)


@pytest.mark.parametrize(
    "parameters",
    [
        b"name*=UTF-8''sessionId",
        b'name="=?utf-8?B?c2Vzc2lvbklk?="',
        b"name = sessionId",
        b'filename="x"; name="sessionId"',
    ],
)
def test_the_name_of_a_field_is_read_in_the_same_ways(parameters: bytes) -> None:
    assert parse("form-data; " + parameters.decode("latin-1")).name == "sessionId"


@given(
    st.lists(
        st.sampled_from(
            [*"\"\\;=%?'* \t", "filename", "name", "*=", "UTF-8''", "%22", "=?utf-8?B?", "?=", "é"]
        )
        | st.characters(max_codepoint=255),
        max_size=60,
    ).map("".join)
)
def test_any_header_is_read_or_rejected(text: str) -> None:
    with suppress(InvalidHeader):
        header = parse("form-data; name=file; filename" + text)
        assert clean(header.filename or "", MAX_BYTES)


async def test_names_are_kept_as_they_are_shown_and_never_become_paths(gateway: Gateway) -> None:
    for parameters, _ in NAMES:
        answer = await send(gateway, body(parameters, picture()))
        assert answer[0] == 201, (parameters, answer)

    named = [
        recorded.event.data.original_filename
        async for recorded in gateway.log.scan(0)
        if isinstance(recorded.event.data, PhotoUploaded)
    ]
    assert named == [shown for _, shown in NAMES]
    assert {name.rpartition("/")[0].split("/")[0] for name in gateway.stored()} == {"originals"}


@pytest.mark.parametrize(
    ("request_body", "says"),
    [
        *((body(parameters, b"x"), says) for parameters, says in BAD),
        (
            body(b"name=file", b"x", b"Content-Disposition: form-data; name=file\r\n"),
            "more than one Content-Disposition",
        ),
        (
            body(b"name=file", b"x", b"Content-Transfer-Encoding: base64\r\n"),
            "in the encoding 'base64'",
        ),
        (body(b"name=file; filename=" + b"a" * 9_000, b"x"), "more than 8192 bytes"),
    ],
)
async def test_a_part_that_cannot_be_read_is_rejected_in_words(
    shared_gateway: Gateway, request_body: bytes, says: str
) -> None:
    status, problem = await send(shared_gateway, request_body)

    assert (status, problem["code"]) == (400, "malformed-multipart")
    assert says in problem["detail"]


@pytest.mark.parametrize("encoding", ["binary", "8bit", "7BIT"])
async def test_a_part_may_say_that_it_is_not_encoded(gateway: Gateway, encoding: str) -> None:
    header = f"Content-Transfer-Encoding: {encoding}\r\n".encode()

    assert (await send(gateway, body(b"name=file", picture(), header)))[0] == 201


async def send(gateway: Gateway, content: bytes) -> tuple[int, dict[str, str]]:
    answer = await gateway.client.post(
        "/api/photos/upload",
        content=content,
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    return answer.status_code, answer.json()

"""Verify the digests that a client sends with bytes.

| header | what it covers | answer if it differs |
|---|---|---|
| ``Content-Digest`` (RFC 9530) | the body of this request | 400 ``digest-mismatch`` |
| ``Repr-Digest`` (RFC 9530) | the file, if its upload is resumable; else the body | the same |
| ``Upload-Checksum`` (tus 1.0) | the body of this request | 460 ``checksum-mismatch`` |

Of the digests of RFC 9530, ``sha-256`` and ``sha-512`` are verified, and others are ignored, as the
RFC demands.
"""

import base64
import binascii
import hashlib
import re
from typing import Any

from litestar import Request

from gateway.http.problems import Refused

CHECKSUMS = ("sha1", "sha256")
"""The algorithms of ``Upload-Checksum``; tus demands the first."""

ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}

_MEMBER = re.compile(r"[ \t]*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):[ \t]*", re.ASCII)

_PREFERENCE = re.compile(r"[ \t]*([a-z*][a-z0-9_.*-]*)=(\d{1,2})[ \t]*", re.ASCII)


class Digests:
    """Digests that a body must have; feed it the body, then ``check``."""

    def __init__(self) -> None:
        self._expected: list[tuple[str, str, Any, bytes]] = []

    def __bool__(self) -> bool:
        return bool(self._expected)

    def add(self, header: str, algorithm: str, digest: bytes) -> None:
        made: Any = hashlib.new(algorithm, usedforsecurity=False)
        if made.digest_size != len(digest):
            raise Refused(
                "invalid-checksum" if header == "Upload-Checksum" else "invalid-digest",
                f"{header}: the digest has {len(digest)} bytes instead of {made.digest_size}.",
            )
        self._expected.append((header, algorithm, made, digest))

    def update(self, chunk: bytes) -> None:
        for _, _, made, _ in self._expected:
            made.update(chunk)

    def check(self) -> None:
        """Return if the bytes have all digests; raises Refused."""
        for header, algorithm, made, digest in self._expected:
            if made.digest() != digest:
                raise Refused(
                    "checksum-mismatch" if header == "Upload-Checksum" else "digest-mismatch",
                    f"The {algorithm} of the bytes received differs from that in {header}.",
                )


def digests_of(request: Request[Any, Any, Any], *headers: str) -> Digests:
    """Return the digests in ``headers``; raises Refused, ``invalid-digest`` or -``checksum``."""
    found = Digests()
    for header in headers:
        if header == "Upload-Checksum":
            _add_checksum(found, request.headers.get(header))
            continue
        for algorithm, digest in digest_field(request, header).items():
            if algorithm in ALGORITHMS:
                found.add(header, ALGORITHMS[algorithm], digest)
    return found


def digest_field(request: Request[Any, Any, Any], header: str) -> dict[str, bytes]:
    """Return the members of a header of RFC 9530; raises Refused, ``invalid-digest``."""
    text = ",".join(request.headers.getall(header, []))
    found: dict[str, bytes] = {}
    for member in text.split(",") if text.strip() else ():
        match = _MEMBER.fullmatch(member)
        malformed = Refused("invalid-digest", f"{header} is not a list of digests as in RFC 9530.")
        if match is None:
            raise malformed
        try:
            found[match[1]] = base64.b64decode(match[2], validate=True)
        except binascii.Error as error:
            raise malformed from error
    return found


def wants_digest(request: Request[Any, Any, Any]) -> bool:
    """Return whether ``Want-Repr-Digest`` asks for SHA-256; a malformed header asks for nothing."""
    text = ",".join(request.headers.getall("Want-Repr-Digest", []))
    members = [_PREFERENCE.fullmatch(member) for member in text.split(",")]
    found = {match[1]: int(match[2]) for match in members if match}
    return None not in members and found.get("sha-256", 0) > 0


def repr_digest(sha256: str) -> str:
    """Return the value of ``Repr-Digest`` for a file with this SHA-256 in hex."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def _add_checksum(found: Digests, value: str | None) -> None:
    if value is None:
        return
    algorithm, _, text = value.partition(" ")
    if algorithm not in CHECKSUMS:
        raise Refused(
            "invalid-checksum",
            f"Upload-Checksum: unknown algorithm {algorithm[:20]!r}.",
            advice=f"Use {' or '.join(CHECKSUMS)}.",
        )
    try:
        digest = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise Refused("invalid-checksum", "Upload-Checksum is not in Base64.") from error
    found.add("Upload-Checksum", algorithm, digest)

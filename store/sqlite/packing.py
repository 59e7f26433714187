"""Packs small values of the read model: Zstandard against a dictionary that all of them share.

An event is a few hundred bytes, too short to compress alone; most of it is words that every event
has, and hexadecimal digits. The dictionary ``events.zdict`` holds those words and the statistics of
the digits, so the identifiers and digests are most of what is left. ``ops.bench.dictionary`` has
made it from the events of ordinary photos.

A packed value is a Zstandard frame (RFC 8878) without its magic number, dictionary id and checksum.
"""

import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import zstandard as zstd

from store.errors import Corrupt

LEVEL = 1

MANY = 50
"""From how many values on they are packed in one call, which takes about 10 µs to begin."""

DICTIONARY = Path(__file__).with_name("events.zdict").read_bytes()

FORM = f"{zstd.ZSTD_VERSION} {LEVEL} {zlib.crc32(DICTIONARY)}"
"""Values that were packed in the same form are equal if their packed bytes are."""


class _Tools(threading.local):
    """A compressor and a decompressor for each thread: neither may be shared at one time."""

    def __init__(self) -> None:
        self.compressor = zstd.ZstdCompressor(dict_data=_dictionary, compression_params=_parameters)
        self.decompressor = zstd.ZstdDecompressor(
            dict_data=_dictionary, format=zstd.FORMAT_ZSTD1_MAGICLESS
        )


_parameters = zstd.ZstdCompressionParameters(
    compression_level=LEVEL,
    format=zstd.FORMAT_ZSTD1_MAGICLESS,
    write_content_size=True,
    write_dict_id=False,
    write_checksum=False,
)
_dictionary = zstd.ZstdCompressionDict(DICTIONARY)
_untyped: Any = _dictionary
_untyped.precompute_compress(level=LEVEL)
_tools = _Tools()


def pack(value: bytes) -> bytes:
    return _tools.compressor.compress(value)


def pack_all(values: Sequence[bytes]) -> Iterator[bytes]:
    """Pack each value as ``pack`` does; many of them without holding the interpreter meanwhile."""
    if len(values) < MANY:
        return map(pack, values)
    packed = _tools.compressor.multi_compress_to_buffer(list(values))
    return (each.tobytes() for each in packed)


def unpack(packed: bytes) -> bytes:
    """Return the value; raises Corrupt if ``packed`` was not packed with this dictionary."""
    try:
        return _tools.decompressor.decompress(packed)
    except (zstd.ZstdError, MemoryError) as error:
        raise Corrupt(f"a packed value of the read model is damaged: {error}") from error

"""Segments that earlier versions of this code have written stay readable."""

import base64
import json
import sys
from pathlib import Path

import msgspec
import pytest

from domain.photo.events import EVENT_TYPES
from store.archive.segment import Entry, Segment, encode
from store.log import codec
from store.log.position import Position
from store.log.recorded import sift
from tests.store.archive.segments import LOG_ID
from tests.store.archive.test_segment import read_by_page
from tests.store.log.test_codec import STORED, in_version

KEPT = Path(__file__).parent / "kept"
"""Segments in base64, by version of the format. A file there is never changed, only added."""

V1 = KEPT / "version-1.txt"


def stored_entries() -> list[Entry]:
    """Return an entry for each version of each type of event, as releases have stored it."""
    found: list[Entry] = []
    for number, (data, version) in enumerate(STORED):
        now = in_version(version, data)
        fields = {
            b"t": now.type.encode(),
            b"p": getattr(data, "photo_id", "").encode(),
            b"v": b"%d" % now.metadata.photo_version,
            b"b": codec.encode_event(now),
        }
        parts = [part for field in fields.items() for part in field]
        found.append(Entry(b"1795300000000-%d" % number, parts))
    return found


@pytest.mark.parametrize("file", sorted(KEPT.iterdir()), ids=lambda file: file.stem)
def test_a_kept_segment_reads_as_it_was_written(file: Path, tmp_path: Path) -> None:
    data = base64.b64decode(file.read_bytes())
    segment = Segment(data)
    entries = list(segment.entries())

    events, foreign = sift(0, [(entry.entry_id, entry.fields) for entry in entries])

    assert segment.head.log == LOG_ID
    assert [entry.entry_id.decode() for entry in entries] == [e.position.entry_id for e in events]
    assert foreign == []
    for recorded in events:
        assert type(recorded.event.data) is EVENT_TYPES[recorded.event.type]
        assert recorded.event.metadata.version == recorded.event.data.VERSION
    (tmp_path / "segment").write_bytes(data)
    by_page = read_by_page(tmp_path / "segment")
    assert [fields["t"] for _, fields in by_page] == [each.event.type for each in events]


def test_the_kept_segment_has_every_type_and_version_of_its_time() -> None:
    """The first version of the format was released with these; later ones add their own file."""
    entries = Segment(base64.b64decode(V1.read_bytes())).entries()

    versions = [(e.fields[b"t"].decode(), _version(e.fields[b"b"])) for e in entries]

    assert len(versions) == 27
    assert ("photo.processing.stage.completed", "1") in versions
    assert ("photo.processing.stage.completed", "2") in versions


def _version(body: bytes) -> str:
    return msgspec.msgpack.decode(body)["metadata"]["version"]


def test_every_stored_form_of_every_event_survives_a_segment() -> None:
    entries = stored_entries()

    segment = Segment(encode(entries, log_id=LOG_ID, partition=0, previous=None))

    assert list(segment.entries()) == entries
    for (data, _), entry in zip(STORED, segment.entries(), strict=True):
        event = codec.decode_event(entry.fields[b"b"])
        assert type(event.data) is type(data)
        Position.of_entry(0, entry.entry_id)


if __name__ == "__main__":
    segment = encode(stored_entries(), log_id=LOG_ID, partition=0, previous=None)
    print(base64.encodebytes(segment).decode(), end="")
    print(json.dumps(len(segment)), file=sys.stderr)

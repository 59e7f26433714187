import msgspec
import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.uri import parse_uri

from gateway.http.socket_protocol import text_frame
from gateway.rooms.frames import WRITE_BYTES, frames
from gateway.rooms.subscription import Delivery
from projections.models.history import HistoryEntry
from store.log.position import Position


def parsed(data: bytes) -> list[bytes]:
    """Return the messages in ``data`` as another implementation reads them."""
    client = ClientProtocol(parse_uri("ws://localhost/"), max_size=None)
    client.state = client.state.OPEN
    client.parser = client.parse()
    next(client.parser)
    client.receive_data(data)
    return [bytes(event.data) for event in client.events_received() if isinstance(event, Frame)]


def delivery(number: int, size: int) -> Delivery:
    body = msgspec.json.encode({"id": number, "data": "x" * size})
    entry = HistoryEntry(
        position=Position(0, number, 0),
        client_id="alice",
        session_id=None,
        photo_id="p",
        type="photo.uploaded",
        body=body,
    )
    return Delivery(("client:alice",), entry)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_frame_is_read_as_its_text(length: int) -> None:
    assert parsed(text_frame(b"a" * length)) == [b"a" * length]


@pytest.mark.parametrize("batches", [False, True])
def test_a_write_has_whole_messages_and_a_limited_size(batches: bool) -> None:
    sizes = [10, 900, 2 * WRITE_BYTES, 30_000, 30_000, 30_000, 5]
    batch = [delivery(number, size) for number, size in enumerate(sizes)]

    written = list(frames(batch, batches=batches))

    found: list[int] = []
    for each in written:
        for text in parsed(each):
            message = msgspec.json.decode(text)
            members = message["events"] if batches else [message]
            assert message["type"] == ("events" if batches else "event")
            assert all(member["rooms"] == ["client:alice"] for member in members)
            found += [member["event"]["id"] for member in members]
    assert found == list(range(len(sizes)))
    assert [len(each) > WRITE_BYTES + 100 for each in written].count(True) == 1
    assert len(written) == 4

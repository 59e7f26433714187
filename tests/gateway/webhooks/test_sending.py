"""One request to a receiver that may do anything."""

import ipaddress
import ssl
from pathlib import Path

import anyio
import pytest

from domain.webhooks.addresses import NotAllowed, is_public, parse_networks
from gateway.webhooks.destinations import Destinations
from gateway.webhooks.sending import ANSWER_SHOWN, Answer, Sender, tls_context
from tests.certificates import Certified, certify
from tests.gateway.conftest import DEADLINE_S, HOST
from tests.gateway.webhooks import receivers
from tests.gateway.webhooks.receivers import Behaviour, receiving, status

TIMEOUT_S = 0.5
LOOPBACK = Destinations(parse_networks("127.0.0.0/8"))
PLAIN = tls_context(None)


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certify(tmp_path_factory.mktemp("receiver"))


async def post(
    url: str, destinations: Destinations = LOOPBACK, tls: ssl.SSLContext = PLAIN
) -> Answer:
    sender = Sender(url, destinations, tls, connections=1, timeout_s=TIMEOUT_S)
    try:
        return await sender.post([("content-type", "application/json")], b'{"a":1}')
    finally:
        await sender.close()


async def test_a_request_arrives_and_its_answer_is_returned() -> None:
    async with receiving() as receiver:
        answer = await post(receiver.url("/hook?a=b"))

    assert (answer.outcome, answer.status, answer.text) == ("delivered", 200, "ok")
    assert receiver.requests[0].head == "POST /hook?a=b HTTP/1.1"
    assert receiver.requests[0].headers["host"] == f"{HOST}:{receiver.port}"
    assert receiver.requests[0].body == b'{"a":1}'


async def test_requests_share_a_connection() -> None:
    async with receiving() as receiver:
        sender = Sender(receiver.url(), LOOPBACK, PLAIN, connections=1, timeout_s=TIMEOUT_S)
        for _ in range(3):
            assert (await sender.post([], b"{}")).outcome == "delivered"
        await sender.close()

    assert receiver.connections == 1


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(204, "delivered"), (302, "rejected"), (404, "rejected"), (410, "gone"), (500, "rejected")],
)
async def test_the_status_decides(code: int, outcome: str) -> None:
    async with receiving() as receiver, receiving() as other:
        location = f"Location: {other.url()}"
        receiver.answer = lambda _: status(code, location, "Retry-After: 7", body=b"no\x1b[2Jway")
        answer = await post(receiver.url())

    assert (answer.outcome, answer.status, answer.retry_after_s) == (outcome, code, 7.0)
    assert answer.text == ("" if code == 204 else "no [2Jway")
    assert other.connections == 0


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (receivers.hang, "timeout"),
        (receivers.drip_head, "timeout"),
        (receivers.continue_for_ever, "timeout"),
        (receivers.reset, "unreachable"),
        (receivers.babble, "unreachable"),
        (receivers.flood_headers, "unreachable"),
        (receivers.flood, "delivered"),
    ],
)
async def test_no_receiver_takes_longer_than_the_timeout(
    behaviour: Behaviour, outcome: str
) -> None:
    async with receiving() as receiver:
        receiver.behave = behaviour
        with anyio.fail_after(DEADLINE_S):
            answer = await post(receiver.url())

    assert answer.outcome == outcome
    assert len(answer.text) <= ANSWER_SHOWN


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    async with receiving() as receiver:
        pass

    assert (await post(receiver.url())).outcome == "unreachable"


async def test_certificates_are_verified_for_the_name(certified: Certified) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certified.certificate, certified.key)
    trusting = tls_context(str(certified.authority))

    async def resolve(_host: str, _port: int) -> list[str]:
        return [HOST]

    elsewhere = Destinations(parse_networks(HOST), resolve)
    async with receiving(context) as receiver:
        right = await post(receiver.url(scheme="https"), tls=trusting)
        unknown = await post(receiver.url(scheme="https"))
        wrong_name = await post(f"https://other.example:{receiver.port}/", elsewhere, trusting)

    outcomes = [each.outcome for each in (right, unknown, wrong_name)]
    assert outcomes == ["delivered", "tls", "tls"], (unknown, wrong_name)
    assert len(receiver.requests) == 1


async def test_a_tls_handshake_that_never_ends_is_a_timeout() -> None:
    async with receiving() as receiver:
        receiver.behave = receivers.hang
        answer = await post(receiver.url(scheme="https"))

    assert answer.outcome == "timeout"


async def test_a_name_is_resolved_once_and_the_checked_address_is_used() -> None:
    """DNS that answers with another address the second time changes nothing."""
    answers = [[HOST], ["192.0.2.1"]]
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    async with receiving() as receiver:
        url = f"http://rebinding.example:{receiver.port}/"
        answer = await post(url, Destinations(parse_networks(HOST), resolve))

    assert answer.outcome == "delivered"
    assert asked == ["rebinding.example"]
    assert receiver.requests[0].headers["host"] == f"rebinding.example:{receiver.port}"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",  # where it leads is what matters
        "[::1]",
        "[::ffff:127.0.0.1]",
        "10.1.2.3",
        "169.254.169.254",
        "100.64.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ],
)
async def test_private_addresses_are_not_reached(host: str) -> None:
    async with receiving() as receiver:
        answer = await post(f"https://{host}:{receiver.port}/", Destinations())

    assert answer.outcome == "not-allowed"
    assert receiver.connections == 0


async def test_a_public_address_needs_tls() -> None:
    with pytest.raises(NotAllowed, match="https"):
        await LOOPBACK.address_of("8.8.8.8", 80, encrypted=False)
    assert await LOOPBACK.address_of("8.8.8.8", 443, encrypted=True) == "8.8.8.8"


async def test_of_several_addresses_only_an_allowed_one_is_used() -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return ["10.0.0.1", "::1", "8.8.4.4"]

    found = await Destinations(resolve=resolve).address_of("mixed.example", 443, encrypted=True)

    assert found == "8.8.4.4"


async def test_a_name_that_cannot_be_resolved_is_unreachable() -> None:
    answer = await post("https://no-such-host.invalid/")
    long = await post(f"https://{'a' * 80}.example/")

    assert (answer.outcome, long.outcome) == ("unreachable", "unreachable")


def test_public_addresses_are_public() -> None:
    assert is_public(ipaddress.ip_address("8.8.8.8"))
    assert is_public(ipaddress.ip_address("2606:4700:4700::1111"))
    assert not is_public(ipaddress.ip_address("ff0e::1"))


def test_a_file_without_certificates_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()

    with pytest.raises(OSError, match="cert"):
        tls_context(str(empty))

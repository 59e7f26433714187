"""``photolog webhooks``, and deliveries of a whole system whose processes are killed."""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.ops.conftest import ONE_DECODER
from tests.ops.systems import System, jpeg, wait_until

DELETED = "photo.deleted"


class Receiver:
    """Keeps the events that arrive, and answers with ``status``."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.events.append(msgspec.json.decode(body))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def positions(self) -> list[str]:
        return [each["id"] for each in self.events]


@pytest.fixture
def receiver() -> Generator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


@pytest.fixture(scope="module")
def system() -> Generator[System]:
    settings = {**ONE_DECODER, "webhook_private_addresses": "127.0.0.1"}
    with (
        tempfile.TemporaryDirectory(prefix="photolog-") as folder,
        System(Path(folder, "data"), settings=settings) as started,
    ):
        yield started


def done(system: System, *arguments: str) -> str:
    """Return the output of ``photolog webhooks``, which has to succeed."""
    ran = system.photolog("webhooks", *arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def upload(system: System) -> str:
    file = system.data.parent / f"{time.monotonic_ns()}.jpg"
    file.write_bytes(jpeg())
    ran = system.photolog("upload", "--json", str(file))
    return msgspec.json.decode(ran.stdout)["photoId"]


def kill(system: System, role: str) -> None:
    pid = system.pid_of(role) or 0
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: system.pid_of(role) not in (None, pid), f"a new {role}")


def test_a_webhook_is_created_listed_changed_and_deleted(
    system: System, receiver: Receiver
) -> None:
    assert done(system) == "There are no webhooks.\n"
    webhook_id, secret = done(
        system, "create", receiver.url, "--type", DELETED, "--client", "local"
    ).split()
    assert secret.startswith("whsec_")
    head, line = done(system).splitlines()
    assert head.split()[:5] == ["Webhook", "State", "URL", "For", "Types"]
    assert line.split() == [
        *(webhook_id, "delivering", receiver.url, "client", "local", DELETED, "–", "–")
    ]
    assert msgspec.json.decode(done(system, "list", "--json"))["id"] == webhook_id
    assert done(system, "list", "--client", "nobody") == "There are no webhooks.\n"
    assert done(system, "deliveries", webhook_id).startswith("There were no attempts")

    receiver.status = 410
    assert system.photolog("delete", "--yes", upload(system)).returncode == 0
    wait_until(lambda: "disabled (gone)" in done(system), "it is disabled")
    head, line = done(system, "deliveries", webhook_id).splitlines()
    assert head.startswith("Time (UTC)")
    day, clock, event, position, attempt, *outcome = line.split()
    assert (event, attempt, outcome[:2]) == (DELETED, "1", ["gone", "410"])
    recorded = msgspec.json.decode(done(system, "deliveries", webhook_id, "--json"))
    assert (position, f"{day}T{clock}") == (recorded["position"], recorded["time"][:19])
    receiver.status = 200
    done(system, "enable", webhook_id, "--reason", "back again")
    wait_until(lambda: len(receiver.events) == 2, "the event is sent again")
    assert receiver.events[0] == receiver.events[1]

    rotated = done(system, "rotate", webhook_id).strip()
    assert rotated.startswith("whsec_")
    assert rotated != secret
    done(system, "replay", webhook_id, "0:0-0", "--reason", "lost them")
    wait_until(lambda: len(receiver.events) == 3, "the event is sent once more")
    done(system, "disable", webhook_id, "--reason", "quiet")
    assert "disabled (requested)" in done(system)
    refused = system.photolog("webhooks", "delete", webhook_id)
    assert (refused.returncode, "--yes" in refused.stderr) == (1, True)
    done(system, "delete", webhook_id, "--reason", "done", "--yes")
    assert done(system) == "There are no webhooks.\n"
    audit = system.photolog("audit", "--what", "webhook.replayed").stdout
    assert "lost them" in audit
    output = system.log.read_text()
    assert secret not in output
    assert rotated not in output
    wrong = system.photolog("webhooks", "create", "http://user@example.com/")
    assert wrong.returncode == 1
    assert "user and password" in wrong.stderr


def test_every_event_arrives_in_order_whatever_is_killed(
    system: System, receiver: Receiver
) -> None:
    """The process that delivers, the projector, the gateway and the log are killed in turn."""
    done(system, "create", receiver.url)
    photos: list[str] = []
    for role in ("webhooks", "projector", "gateway", "valkey", "webhooks"):
        photos += [upload(system), upload(system)]
        kill(system, role)
        wait_until(lambda: system.photolog("health").returncode == 0, "the system is well", 60)
    photos.append(upload(system))
    for photo_id in photos:
        wait_until(
            lambda p=photo_id: "photo.processing.completed" in told(receiver, p),
            f"all events of {photo_id} have arrived",
            60,
        )

    for photo_id in photos:
        history = system.photolog("history", photo_id, "--json").stdout.splitlines()
        recorded = [msgspec.json.decode(line)["id"] for line in history]
        of_photo = [each["id"] for each in receiver.events if each.get("subject") == photo_id]
        first_time = list(dict.fromkeys(of_photo))
        assert first_time == recorded[: len(first_time)]
        assert len(first_time) == len(recorded)
    repeated = len(receiver.events) - len(set(receiver.positions()))
    assert repeated <= 5 * 4  # one window of concurrent requests for each death


def told(receiver: Receiver, photo_id: str) -> list[str]:
    return [each["type"] for each in receiver.events if each.get("subject") == photo_id]

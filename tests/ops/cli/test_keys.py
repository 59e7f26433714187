"""``photolog keys`` and the names of people in tokens, on a running system."""

import re

import httpx
import msgspec
import pytest

from tests.ops.cli.test_tokens import status, token
from tests.ops.systems import System, run, wait_until


def test_a_key_is_created_listed_and_revoked(shared_system: System) -> None:
    made = shared_system.photolog(
        "keys",
        "create",
        "backup of ann",
        "--client",
        "ann",
        "--scope",
        "photos.read",
        "--ttl",
        "1d",
    )
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    key_id = key.split("_")[1]
    wait_until(lambda: status(shared_system, key) == 200, "the key is accepted")

    shown = shared_system.photolog("keys").stdout
    (line,) = (each for each in shown.splitlines() if each.startswith(key_id))
    assert line.split("  ")[:3] == [key_id, "backup of ann", "client ann"]
    assert line.endswith("photos.read")
    told = shared_system.photolog("keys", "list", "--json").stdout
    assert key_id in [msgspec.json.decode(each)["id"] for each in told.splitlines()]
    assert key not in shown + told
    for client_id, is_listed in (("ann", True), ("nobody", False)):
        of_client = shared_system.photolog("keys", "--client", client_id).stdout
        assert (key_id in of_client) == is_listed

    done = shared_system.photolog("keys", "revoke", key, "--reason", "lost")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: status(shared_system, key) == 401, "the key is rejected")

    def audit() -> str:
        return shared_system.photolog("audit", "--what", "access.key.revoked").stdout

    wait_until(lambda: key_id in audit(), "the read model has the revocation")
    assert f"key {key_id}, backup of ann, client ann" in audit()
    assert "lost" in audit()
    made = shared_system.photolog("audit", "--what", "access.key.created").stdout
    assert f"key {key_id}, backup of ann, client ann, photos.read, until " in made

    assert key_id not in shared_system.photolog("keys").stdout
    (line,) = (
        each
        for each in shared_system.photolog("keys", "--all").stdout.splitlines()
        if each.startswith(key_id)
    )
    moment = r"\d{4}-\d\d-\d\d [\d:]{8}"
    assert re.search(rf"  {moment}  +revoked {moment} by operator:local: lost  ", line), line
    told = shared_system.photolog("keys", "--all", "--json").stdout.splitlines()
    (ended,) = (each for each in map(msgspec.json.decode, told) if each["id"] == key_id)
    assert ended["createdAt"] < ended["lastUsedAt"] < ended["revokedAt"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("create", "x", "--scope", "photos.read"), "without a client"),
        (("create", "x", "--scope", "ops.read", "--client", "ann"), "of a client"),
        (("create", "x", "--scope", "ops.read", "--ttl", "soon"), "not a duration"),
        (("revoke", "0123456789ab"), "no API key"),
    ],
)
def test_a_mistake_is_explained(
    shared_system: System, arguments: tuple[str, ...], told: str
) -> None:
    done = shared_system.photolog("keys", *arguments)

    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_client_id_that_cannot_be_is_rejected_before_it_is_sent(shared_system: System) -> None:
    done = shared_system.photolog(
        "keys", "create", "x", "--scope", "photos.read", "--client", "a b"
    )

    assert done.returncode == 2
    assert "'a b' is not a valid client id: use 1 to 64 letters" in done.stderr


def test_events_name_an_operator_by_the_name_in_the_token(shared_system: System) -> None:
    named = token(shared_system, "--role", "operator", "--name", "Zoë Müller")
    assert "Zoë Müller" in run("tokens", "show", named).stdout

    done = shared_system.photolog("quotas", "zoe", "--photos", "7", "--token", named)

    assert done.returncode == 0, done.stderr
    audit = shared_system.photolog("audit", "--actor", "operator:Zoë Müller").stdout
    assert "client zoe, photos 7" in audit


@pytest.mark.parametrize("name", ["", " x", "x\ny", "x\u202ey", "x:y", "1", "x" * 65])
def test_an_invalid_name_is_rejected(shared_system: System, name: str) -> None:
    done = shared_system.photolog("token", "--name", name)

    assert (done.returncode, done.stdout) == (1, "")
    assert "not a valid name" in done.stderr


@pytest.mark.parametrize("by", ["keys", "tokens"])
def test_a_revocation_names_the_webhooks_that_it_disables(shared_system: System, by: str) -> None:
    client = f"hooks-{by}"
    if by == "keys":
        scopes = ("--scope", "photos.write", "--scope", "events.read")
        made = shared_system.photolog("keys", "create", "thief", "--client", client, *scopes)
        access = made.stdout.strip()
    else:
        access = token(shared_system, "--client", client)
    wait_until(lambda: status(shared_system, access) != 401, "the access is accepted")
    hook = httpx.post(
        f"{shared_system.url}/api/webhooks",
        json={"url": "https://example.com/"},
        headers={"Authorization": f"Bearer {access}"},
        trust_env=False,
    ).json()

    done = shared_system.photolog(by, "revoke", access)

    assert done.returncode == 0, done.stderr
    assert f"Disabled webhooks, which this access made or changed: {hook['id']}." in done.stdout

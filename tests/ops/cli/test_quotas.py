"""``photolog quotas`` on a running system."""

import json
import uuid
from typing import Any

from click.testing import Result

from tests.ops.systems import System, run

NAMES = ("photos", "bytes", "jobs", "uploads", "idempotencyKeys")


def quotas(system: System, *arguments: str) -> Result:
    return run("--data", str(system.data), "quotas", *arguments)


def as_json(system: System, *arguments: str) -> Any:
    done = quotas(system, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_named_limits_are_set_and_the_others_stay(shared_system: System) -> None:
    client = f"client-{uuid.uuid4().hex[:8]}"

    first = as_json(shared_system, client, "--photos", "500", "--bytes", "20G")
    second = as_json(shared_system, client, "--photos", "none", "--jobs", "3")
    third = as_json(shared_system, client, "--bytes", "default")

    own = [{name: each["own"][name] for name in NAMES} for each in (first, second, third)]
    nothing = dict.fromkeys(NAMES)
    assert own == [
        nothing | {"photos": 500, "bytes": 20_000_000_000},
        nothing | {"photos": 0, "bytes": 20_000_000_000, "jobs": 3},
        nothing | {"photos": 0, "jobs": 3},
    ]
    assert third["quota"]["photos"] == {"used": 0, "limit": None}
    assert as_json(shared_system, client) == third


def test_a_client_is_shown_and_listed(shared_system: System) -> None:
    client = f"client-{uuid.uuid4().hex[:8]}"
    quotas(shared_system, client, "--photos", "5")

    shown, listed = quotas(shared_system, client), quotas(shared_system)

    assert f"{'photos':<16} {0:>16}  of 5\n" in shown.stdout
    assert f"{'bytes':<16} {0:>16}  no limit (default)\n" in shown.stdout
    assert listed.exit_code == 0


def test_a_quota_that_no_job_fits_in_is_warned_of(shared_system: System) -> None:
    client = f"client-{uuid.uuid4().hex[:8]}"

    small = quotas(shared_system, client, "--bytes", "1M")
    shown = quotas(shared_system, client)
    fits = quotas(shared_system, client, "--bytes", "1G")

    warning = f"Warning: every upload of {client} is rejected, because each job reserves 10,000,000"
    assert (small.exit_code, shown.exit_code) == (0, 0)
    assert small.stderr.startswith(warning)
    assert shown.stderr.startswith(warning)
    assert "Warning" not in fits.stderr


def test_a_client_that_never_was_is_said_to_have_stored_nothing(shared_system: System) -> None:
    client = f"client-{uuid.uuid4().hex[:8]}"

    unknown = quotas(shared_system, client)
    quotas(shared_system, client, "--photos", "5")
    known = quotas(shared_system, client)

    hint = "`photolog quotas` lists all clients.\n"
    said = f"Note: {client} has stored nothing"
    assert unknown.stderr == f"{said} and has no quota of its own. {hint}"
    assert known.stderr == f"{said}. {hint}"


def test_an_invalid_limit_and_a_missing_client_are_rejected(shared_system: System) -> None:
    wrong = quotas(shared_system, "alice", "--photos", "-5")
    huge = quotas(shared_system, "alice", "--photos", "99999999999999999999")
    whose = quotas(shared_system, "--photos", "5")

    assert "is not a number such as 500 or 20G, none or default" in wrong.output
    assert "is not a number such as 500 or 20G, none or default" in huge.output
    assert "Name the client whose quota you want to set." in whose.output

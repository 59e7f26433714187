import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.http.auth import Role, Tokens
from ops.cli.main import COMMANDS
from ops.config.settings import Settings, variable_of
from ops.errors import UserError
from ops.process.lock import locked
from ops.runtime.tokens import LOCAL_CLIENT
from tests.ops.systems import run

SECRET = "a secret for these tests, long enough"


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ops.cli.main import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted({'litestar', 'redis', 'httpx', 'rich', 'PIL', 'apsw'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("commands", "unneeded"),
    [
        ("up", {"litestar", "redis", "httpx", "jwt", "PIL", "apsw", "prometheus_client"}),
        ("upload photos watch queues dead_letters token tokens health", {"litestar", "redis"}),
        ("gateway worker projector verify reconcile", {"litestar", "prometheus_client"}),
    ],
)
def test_a_command_imports_nothing_heavy_that_it_does_not_need(
    commands: str, unneeded: set[str]
) -> None:
    assert_not_imported([f"ops.cli.{name}" for name in commands.split()], unneeded)


def test_a_gateway_imports_no_http_client_before_it_needs_one() -> None:
    assert_not_imported(["gateway.app", "ops.runtime.wiring", "ops.runtime.webhook_key"], {"httpx"})


def assert_not_imported(modules: list[str], unneeded: set[str]) -> None:
    """Import the modules in a process of its own, and assert that they import none of these."""
    code = f"import sys, {', '.join(modules)}; print(sorted({unneeded!r} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_help_that_the_list_shows(name: str) -> None:
    shown = run(name, "--help")

    assert shown.exit_code == 0
    assert COMMANDS[name].removesuffix(".") in " ".join(shown.output.split())


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("uplod", "a.jpg"), "upload"),
        (("queues", "paus"), "pause"),
        (("projection",), "projections"),
    ],
)
def test_an_unknown_command_is_told_the_nearest(words: tuple[str, ...], meant: str) -> None:
    refused = run(*words)

    assert refused.exit_code == 2
    assert "Did you mean" in refused.output
    assert f"'{meant}'" in refused.output


def test_help_names_the_variable_and_the_default_of_an_option() -> None:
    shown = " ".join(run("up", "--help").output.split())
    asking = " ".join(run("queues", "show", "--help").output.split())

    assert "[env var: PHOTOLOG_PORT; default: 3000]" in shown
    assert "[env var: PHOTOLOG_DATA; default: ./photolog-data]" in shown
    assert "[env var: PHOTOLOG_URL]" in asking
    assert "[env var: PHOTOLOG_TOKEN]" in asking


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (("queues", "--help"), "queues [OPTIONS] COMMAND [ARGS]"),
        (("queues", "-h"), "queues [OPTIONS] COMMAND [ARGS]"),
        (("queues", "show", "--help"), "queues show"),
        (("queues", "--watch", "--help"), "queues show"),
        (("queues", "--data", "/tmp", "pause", "--help"), "queues pause"),
        (("queues", "--data=/tmp", "--json", "--help"), "queues show"),
        (("dead-letters", "--stage", "metadata", "--help"), "dead-letters list"),
        (("dead-letters", "retry", "--help"), "dead-letters retry"),
    ],
)
def test_a_group_without_a_command_runs_its_first(arguments: tuple[str, ...], usage: str) -> None:
    shown = run(*arguments)

    assert shown.exit_code == 0
    assert shown.output.splitlines()[0].removeprefix("Usage: main ").startswith(usage)


def test_config_lists_every_setting_with_its_value_and_source(tmp_path: Path) -> None:
    file = tmp_path / "photolog.toml"
    file.write_text("workers = 3")

    shown = run(
        *("config", "--config", str(file)),
        PHOTOLOG_PORT="4000",
        PHOTOLOG_SECRET=SECRET,
        COLUMNS="1000",
    )

    assert shown.exit_code == 0
    lines = {line.split()[0]: line for line in shown.output.splitlines() if line[:1] == " "}
    assert set(lines) == {variable_of(name) for name in Settings.__struct_fields__}
    assert lines["PHOTOLOG_WORKERS"].split()[1:3] == ["3", "file"]
    assert lines["PHOTOLOG_PORT"].split()[1:4] == ["4000", "environment", "Port"]
    assert lines["PHOTOLOG_HOST"].split()[1:3] == ["127.0.0.1", "default"]
    assert SECRET not in shown.output


def test_config_keeps_to_the_width_of_the_terminal_and_loses_no_word() -> None:
    wide, narrow = (run("config", COLUMNS=columns).stdout for columns in ("1000", "80"))

    assert max(len(line) for line in narrow.splitlines()) <= 80
    assert " ".join(narrow.split()) == " ".join(wide.split())


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("there is no log", "There is no log"),
        ("PHOTOLOG_PORT is 'http'", "PHOTOLOG_PORT is 'http'"),
        ("http://x is no URL", "http://x is no URL"),
        ("'a b' is no client id", "'a b' is no client id"),
    ],
)
def test_an_error_is_a_sentence(said: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise UserError(said)

    monkeypatch.setattr("ops.cli.config._list", refuse)

    assert run("config").stderr == f"Error: {shown}\n"


def test_config_shows_a_named_setting_in_full(tmp_path: Path) -> None:
    file = tmp_path / "photolog.toml"
    file.write_text("workers = 3")

    shown = run("config", "--config", str(file), "workers", "PHOTOLOG_LOG_LEVEL")
    unknown = run("config", "worker")

    assert shown.output.splitlines() == [
        "workers",
        "  variable  PHOTOLOG_WORKERS",
        "  value     3",
        f"  from      file {file}",
        "  accepts   a whole number from 0",
        "  means     Worker processes that `up` starts.",
        "",
        "log_level",
        "  variable  PHOTOLOG_LOG_LEVEL",
        "  value     warning",
        "  from      default",
        "  accepts   one of debug, error, info, warning",
        "  means     Lowest level that is logged.",
    ]
    assert unknown.output == "Error: Unknown setting worker: did you mean workers?\n"


def test_config_shows_the_whole_of_a_retry_strategy() -> None:
    shown = run("config", "--json", PHOTOLOG_RETRY_TEMPORARY="attempts=9 jitter=false")

    values = json.loads(shown.output)
    assert values["retry_temporary"]["value"] == (
        "retryable=true attempts=9 backoff=exponential base_s=5 cap_s=300 jitter=false "
        "escalation_threshold=3 alert_level=warn"
    )
    assert values["retry_logic"]["source"] == "default"


def test_config_as_json_keeps_types_and_masks_secrets() -> None:
    shown = run("config", "--json", "--data", "/srv/photos", PHOTOLOG_SECRET=SECRET)

    values = json.loads(shown.output)
    assert values["data"] == {"value": "/srv/photos", "source": "option --data"}
    assert values["port"] == {"value": 3000, "source": "default"}
    assert values["redis_url"]["value"] is None
    assert SECRET not in shown.output


def test_config_is_accepted_before_the_command_and_as_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "photolog.toml"
    file.write_text("port = 4000")

    for shown in (
        run("--config", str(file), "config", "--json"),
        run("config", "--json", PHOTOLOG_CONFIG=str(file)),
    ):
        assert json.loads(shown.output)["port"]["value"] == 4000


def test_an_invalid_setting_is_one_line_without_a_traceback() -> None:
    shown = run("up", PHOTOLOG_PORT="http")

    assert shown.exit_code == 1
    assert shown.output == (
        "Error: PHOTOLOG_PORT must be a whole number from 0 to 65535 (got 'http')\n"
    )


def test_a_misspelt_variable_causes_a_warning() -> None:
    shown = run("config", PHOTOLOG_PROT="1")

    assert shown.exit_code == 0
    assert shown.stderr == "Warning: PHOTOLOG_PROT is not a setting of Photolog and is ignored.\n"


def test_token_prints_a_token_that_the_gateway_accepts_and_nothing_else() -> None:
    shown = run(
        *("token", "--client", "alice", "--role", "auditor", "--ttl", "2h"), PHOTOLOG_SECRET=SECRET
    )

    principal = Tokens(SECRET.encode()).verify(shown.output.rstrip("\n"))
    assert (principal.client_id, principal.role) == ("alice", Role.AUDITOR)
    assert 7190 < principal.expires - time.time() < 7210


def test_a_token_is_for_the_client_that_the_other_commands_act_as() -> None:
    shown = run("token", PHOTOLOG_SECRET=SECRET)

    assert Tokens(SECRET.encode()).verify(shown.output.rstrip("\n")).client_id == LOCAL_CLIENT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--client", "a b"), "'a b' is not a valid client id"),
        (("--client", ""), "'' is not a valid client id: use 1 to 64 letters"),
        (("--client", "alice", "--ttl", "0d"), "'0d' is too short: the shortest duration is 1s"),
        (("--client", "alice", "--ttl", "5 years"), "'5 years' is not a duration"),
    ],
)
def test_token_rejects_invalid_options(arguments: tuple[str, ...], said: str) -> None:
    shown = run("token", *arguments, PHOTOLOG_SECRET=SECRET)

    assert shown.exit_code == 1
    assert said in shown.output


def test_without_a_secret_neither_a_token_nor_a_folder_is_made(tmp_path: Path) -> None:
    shown = run("token", "--client", "alice", "--data", str(tmp_path / "none"))

    assert shown.exit_code == 1
    assert "start `photolog up` once" in shown.output
    assert not (tmp_path / "none").exists()


CLIENTS = [
    *(("health",), ("photos",), ("watch",), ("history", "x"), ("backfill", "metadata")),
    *(("queues",), ("queues", "--watch"), ("queues", "pause", "all"), ("dead-letters",)),
    *(("dead-letters", "retry", "x"), ("dead-letters", "retry", "--all")),
]


@pytest.mark.parametrize("command", [*CLIENTS, ("upload", "/")])
def test_without_a_system_every_client_command_says_how_to_start_one(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    shown = run(*command, "--data", str(tmp_path))

    assert shown.exit_code == 1
    assert shown.output == (
        f"Error: No Photolog runs on {tmp_path}: start it with `photolog up`, or name another "
        "with --data or --url\n"
    )


@pytest.mark.parametrize("command", [("health",), ("queues",)])
def test_a_client_command_says_that_a_system_is_starting(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    with locked(tmp_path):
        shown = run(*command, "--data", str(tmp_path))

    assert shown.exit_code == 1
    assert shown.output.startswith(f"Error: Photolog is starting on {tmp_path}, or stopping: ")


@pytest.mark.parametrize("command", [*CLIENTS, ("upload", "x")])
def test_without_a_server_every_client_command_says_so_in_one_line(
    command: tuple[str, ...],
) -> None:
    url = "http://127.0.0.1:9"  # the port of "discard", which is not served
    shown = run(*command, "--url", url, PHOTOLOG_TOKEN="t")

    assert shown.exit_code == 1
    assert shown.output.splitlines()[-1] == (
        f"Error: No Photolog answers at {url}: check the address, and start Photolog there with "
        "`photolog up`"
    )
    assert "Traceback" not in shown.output


GROUPS = ["sessions", "dead-letters", "keys", "webhooks", "tokens", "queues", "log", "projections"]


@pytest.mark.parametrize("columns", ["80", "40"])
@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_a_group_is_complete(group: str, columns: str) -> None:
    shown = run(group, "--help", COLUMNS=columns)

    assert "…" not in shown.output
    assert "..." not in shown.output.partition("Commands:")[2]


def test_a_closed_pipe_ends_a_command_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ops.cli.main", "config"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()

    assert said == ""

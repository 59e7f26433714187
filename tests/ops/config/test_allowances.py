"""Rate limits as settings: which texts are accepted, shown and rejected."""

from pathlib import Path

import msgspec
import pytest

from gateway.http.rate_limits import Allowance, ByRole, RateLimits
from ops.config.allowances import parse
from ops.config.loading import SettingsError, describe, environment_of, load
from ops.config.rate_settings import RATES
from ops.config.settings import Settings
from ops.config.validation import check
from ops.errors import UserError

DEFAULT = RateLimits().rate_requests


def test_without_settings_the_limits_are_those_of_the_gateway() -> None:
    assert Settings().rates == RateLimits()
    assert set(RATES) <= set(Settings.__struct_fields__)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("600/60s", Allowance(600, 60)),
        ("10/s", Allowance(10, 1)),
        ("5/1m", Allowance(5, 60)),
        ("2GB/1h", Allowance(2_000_000_000, 3_600)),
        ("500k/10s", Allowance(500_000, 10)),
        ("none", None),
        ("0", None),
        ("0/60s", None),
    ],
)
def test_a_rate_is_a_number_of_tokens_and_a_time(text: str, rate: Allowance | None) -> None:
    assert parse(text) == rate


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("600/60s", ByRole(*[Allowance(600, 60)] * 3)),
        ("600/60s auditor=none", ByRole(Allowance(600, 60), Allowance(600, 60), None)),
        ("operator=9/1s", msgspec.structs.replace(DEFAULT, operator=Allowance(9, 1))),
        ("none", ByRole(None, None, None)),
    ],
)
def test_a_role_has_the_rate_of_its_name_or_that_of_all_or_its_default(
    text: str, rates: ByRole
) -> None:
    assert load({"PHOTOLOG_RATE_REQUESTS": text}).settings.rates.rate_requests == rates


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("many", "'many' is not a rate: use NUMBER/TIME, such as 600/60s"),
        ("600", "'600' is not a rate"),
        ("-5/60s", "'-5/60s' is not a rate"),
        ("600/0s", "the time of '600/0s' must be between 1 and 86400 seconds"),
        ("600/25h", "the time of '600/25h' must be between 1 and 86400 seconds"),
        ("9000000G/1s", "allows more than 1000000000000 tokens: use none for no limit"),
        ("admin=5/1s", "unknown role 'admin': use one of client, operator, auditor"),
        ("client=5/1s client=6/1s", "the rate of client is given twice"),
        ("5/1s 6/1s", "the rate of all roles is given twice"),
        ("=5/1s", "unknown role ''"),
    ],
)
def test_an_invalid_rate_is_rejected_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=r"^PHOTOLOG_RATE_COMMANDS: ") as error:
        load({"PHOTOLOG_RATE_COMMANDS": text})

    assert reason in str(error.value)


def test_only_the_limits_of_clients_accept_roles() -> None:
    with pytest.raises(SettingsError, match="PHOTOLOG_RATE_SIGN_IN_FAILURES: 'operator=5/1s' is"):
        load({"PHOTOLOG_RATE_SIGN_IN_FAILURES": "operator=5/1s"})
    assert "operator=" in describe("rate_requests")[1]
    assert "operator=" not in describe("rate_requests_per_address")[1]


def test_a_limit_is_completed_with_the_defaults_of_all_roles(tmp_path: Path) -> None:
    file = tmp_path / "photolog.toml"
    file.write_text("rate_streams = '7/60s operator=none'\nrate_messages = '0'\n")

    settings = load({}, file=file).settings

    assert settings.rate_streams == "client=7/60s operator=none auditor=7/60s"
    assert settings.rate_messages == "none"
    assert load(environment_of(settings)).settings.rates == settings.rates


@pytest.mark.parametrize(
    ("variable", "text", "reason"),
    [
        ("rate_upload_bytes", "operator=5M/60s", "5000000 bytes for the role operator"),
        ("rate_upload_bytes_per_address", "5M/60s", "5000000 bytes, but an upload may have"),
    ],
)
def test_a_rate_below_the_largest_upload_is_rejected(variable: str, text: str, reason: str) -> None:
    settings = load({f"PHOTOLOG_{variable.upper()}": text}).settings

    with pytest.raises(UserError, match=f"^PHOTOLOG_{variable.upper()} allows {reason}"):
        check(settings)
    check(msgspec.structs.replace(settings, max_upload_bytes=5_000_000))


def test_a_rate_below_the_files_of_one_page_is_rejected() -> None:
    name = "PHOTOLOG_RATE_PAGE_FILES_PER_ADDRESS"
    with pytest.raises(UserError, match=f"^{name} allows 99 files, but a web page may have 100"):
        check(load({name: "99/60s"}).settings)
    check(load({name: "100/60s"}).settings)

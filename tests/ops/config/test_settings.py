from pathlib import Path

import msgspec
import pytest

from domain.pipeline.failures import Category
from domain.pipeline.retries import STRATEGIES
from gateway.http.limits import Limits as GatewayLimits
from handlers.decoder.settings import Pace, Sandbox
from handlers.stage import ImageLimits, Recipe
from handlers.worker.settings import WorkerSettings
from ops.config.loading import MASK, SettingsError, describe, environment_of, load, parts, shown
from ops.config.settings import PARTS, Settings, variable_of
from ops.config.validation import check
from ops.errors import UserError
from store.blobs.s3_server import Server
from store.breaker import FAILURES, OPEN_S
from store.log.answered_settings import AnsweredSettings

NAMES = Settings.__struct_fields__
SECRET = "s" * 43


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "photolog.toml"


def test_nothing_set_gives_the_defaults() -> None:
    loaded = load({})

    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}


def test_a_line_of_the_file_wins_over_the_default(file: Path) -> None:
    file.write_text("port = 4000\nstalled_after_s = 5\n")

    loaded = load({}, file=file)

    assert (loaded.settings.port, loaded.settings.stalled_after_s) == (4000, 5.0)
    assert loaded.sources["port"] == f"file {file}"


def test_the_environment_wins_over_the_file_and_an_option_over_both(file: Path) -> None:
    file.write_text("port = 4000\nhost = '::1'\nworkers = 2\n")
    environment = {"PHOTOLOG_PORT": "5000", "PHOTOLOG_HOST": "0.0.0.0"}

    loaded = load(environment, file=file, options={"port": "6000", "host": None})

    settings = loaded.settings
    assert (settings.workers, settings.host, settings.port) == (2, "0.0.0.0", 6000)
    assert loaded.sources["workers"] == f"file {file}"
    assert loaded.sources["host"] == "environment PHOTOLOG_HOST"
    assert loaded.sources["port"] == "option --port"


def test_an_empty_variable_counts_as_unset() -> None:
    assert load({"PHOTOLOG_REDIS_URL": ""}).settings.redis_url is None


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        ("PHOTOLOG_PORT", "http", "a whole number from 0 to 65535"),
        ("PHOTOLOG_PORT", "65536", "a whole number from 0 to 65535"),
        ("PHOTOLOG_STALLED_AFTER_S", "0", "a number above 0, at most 86400"),
        ("PHOTOLOG_STALLED_AFTER_S", "nan", "a number above 0"),
        ("PHOTOLOG_LOG_FORMAT", "xml", "one of json, text"),
        (
            "PHOTOLOG_REFUSED_FORMATS",
            "WEBP",
            "names of JPEG, PNG, WebP, GIF, TIFF, AVIF, HEIC, HEIF",
        ),
        ("PHOTOLOG_REDIS_URL", "localhost:6379", "a URL that begins with redis://"),
    ],
)
def test_an_invalid_variable_is_named_with_what_it_accepts(
    variable: str, value: str, accepted: str
) -> None:
    with pytest.raises(SettingsError) as error:
        load({variable: value})

    assert str(error.value).startswith(f"{variable} must be {accepted}")
    assert str(error.value).endswith(f" (got {value!r})")


def test_an_invalid_option_and_an_invalid_line_are_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--workers must be a whole number .*'many'"):
        load({}, options={"workers": "many"})
    file.write_text("port = '3000'")
    with pytest.raises(SettingsError, match=r"^port in .*photolog.toml must be .*'3000'"):
        load({}, file=file)


def test_an_unknown_line_is_rejected_with_the_nearest_name(file: Path) -> None:
    file.write_text("PHOTOLOG_PORTS = 1")

    with pytest.raises(SettingsError, match=r"^unknown setting PHOTOLOG_PORTS.*mean port\?"):
        load({}, file=file)


def test_a_file_that_is_missing_or_not_toml_is_rejected(file: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load({}, file=file)
    file.write_bytes(b"port = \xff")
    with pytest.raises(SettingsError, match="is not TOML"):
        load({}, file=file)


def test_a_misspelt_variable_is_distinguished_from_those_of_the_command_line() -> None:
    loaded = load({"PHOTOLOG_PROT": "1", "PHOTOLOG_TOKEN": "t", "PHOTOLOG_URL": "u", "HOME": "/"})

    assert loaded.unknown == ("PHOTOLOG_PROT",)


def test_neither_an_error_nor_the_shown_value_reveals_a_secret() -> None:
    with pytest.raises(SettingsError) as error:
        load({"PHOTOLOG_SECRET": "hunter2"})

    assert "hunter2" not in str(error.value)
    assert shown("secret", SECRET) == MASK
    assert shown("s3_secret_key", "hunter2222") == MASK
    assert shown("redis_url", "rediss://me:hunter2@h:1/0") == f"rediss://me:{MASK}@h:1/0"
    for name, url in (
        ("redis_url", "unix:///run/r.sock?db=1&password=hunter2"),
        ("redis_url", "redis://me:hun/ter2@h:1"),
        ("redis_url", "redis://me:hun#ter2@h:1"),
        ("otlp_endpoint", "http://h:4318/?api-key=hunter2"),
        ("s3_endpoint", "http://me:hunter2@h:9000"),
    ):
        assert "ter2" not in shown(name, url), url
    open_url = "rediss://h:1?ssl_ca_certs=/own.pem&db=2"
    assert shown("redis_url", f"{open_url}&ssl_password=x") == f"{open_url}&ssl_password={MASK}"
    for url in ("redis://h:1/0", "unix:///run/r.sock"):
        assert shown("redis_url", url) == url


def test_settings_are_restored_in_another_process() -> None:
    settings = load(
        {
            "PHOTOLOG_PORT": "0",
            "PHOTOLOG_SECRET": SECRET,
            "PHOTOLOG_LINGER_S": "1.5",
            "PHOTOLOG_S3_LINKS": "true",
            "PHOTOLOG_RETRY_DATA": "retryable=true base_s=0.25",
        }
    ).settings

    again = load(environment_of(settings)).settings

    assert again == msgspec.structs.replace(settings, data=str(settings.folder))


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_says_what_it_means_and_accepts(name: str) -> None:
    meaning, accepted = describe(name)

    assert meaning.endswith(".")
    assert accepted
    assert variable_of(name) == f"PHOTOLOG_{name.upper()}"


def test_every_setting_belongs_to_a_part() -> None:
    assert sorted(name for names in parts().values() for name in names) == sorted(NAMES)
    assert next(iter(parts())) == "The system"
    assert "" not in parts()
    assert set(PARTS) <= set(NAMES)


def test_a_breaker_without_settings_has_the_default_settings() -> None:
    settings = Settings()

    assert (settings.breaker_failures, settings.breaker_open_s) == (FAILURES, OPEN_S)


SERVER = Server(endpoint="http://127.0.0.1:9000", access_key="", secret_key="")
WORKER = {"patience_s": "worker_patience_s", "drain_s": "worker_drain_s"}
SANDBOX = {name: f"decoder_{name}" for name in Sandbox.__struct_fields__}
RECIPE = {name: f"recipe_{name}" for name in Recipe.__struct_fields__}


@pytest.mark.parametrize(
    ("bounds", "renamed"),
    [
        (GatewayLimits(), {}),
        (ImageLimits(), {}),
        (WorkerSettings(), WORKER),
        (Recipe(), RECIPE),
        (Pace(), {}),
        (Sandbox(), SANDBOX),
        (AnsweredSettings(), {}),
    ],
)
def test_every_bound_has_a_setting_with_the_same_default(
    bounds: msgspec.Struct, renamed: dict[str, str]
) -> None:
    values = msgspec.structs.asdict(bounds)
    for follows in ("concurrency", "client_concurrency"):  # from the decoders, where they are 0
        values.pop(follows, None)
    for name, value in values.items():
        assert getattr(Settings(), renamed.get(name, name)) == value, name


def test_every_bound_of_a_server_of_s3_has_a_setting_with_the_same_default() -> None:
    for name, value in msgspec.structs.asdict(SERVER).items():
        if name not in ("endpoint", "access_key", "secret_key"):
            assert getattr(Settings(), f"s3_{name}") == value, name


def test_a_retry_strategy_is_the_default_except_for_what_is_named(file: Path) -> None:
    file.write_text("retry_resource = 'attempts=7'")

    settings = load({"PHOTOLOG_RETRY_DATA": " retryable=true  base_s=2 "}, file=file).settings

    replace, default = msgspec.structs.replace, STRATEGIES
    assert Settings().strategies == default
    assert settings.strategies == {
        **default,
        Category.DATA: replace(default[Category.DATA], retryable=True, base_s=2.0),
        Category.RESOURCE: replace(default[Category.RESOURCE], attempts=7),
    }


def test_every_category_of_failures_has_its_setting() -> None:
    names = [name for name in NAMES if name.startswith("retry_")]

    assert names == [f"retry_{category}" for category in Category]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("atempts=5", "unknown name 'atempts': did you mean attempts?"),
        ("colour=red", "unknown name 'colour': use retryable, attempts, backoff, base_s"),
        ("attempts", "'attempts' is not NAME=VALUE"),
        ("attempts = 5", "'attempts' is not NAME=VALUE"),
        ("attempts=5 attempts=6", "attempts is given twice"),
        ("attempts=0", "attempts must be a whole number from 1 to 1000 (got '0')"),
        ("attempts=many", "attempts must be a whole number from 1 to 1000 (got 'many')"),
        ("base_s=-1", "base_s must be a number from 0 to 86400 (got '-1')"),
        ("base_s=nan", "base_s must be a number from 0 to 86400 (got 'nan')"),
        ("backoff=random", "backoff must be one of exponential, fixed, linear (got 'random')"),
        ("jitter=maybe", "jitter must be true or false (got 'maybe')"),
        ("alert_level=", "alert_level must be one of critical, error, info"),
    ],
)
def test_an_invalid_strategy_is_rejected_with_the_part_that_is_wrong(
    text: str, reason: str
) -> None:
    with pytest.raises(SettingsError) as error:
        load({"PHOTOLOG_RETRY_LOGIC": text})

    assert str(error.value).startswith(f"PHOTOLOG_RETRY_LOGIC: {reason}")


def test_a_role_knows_the_sources_that_the_system_was_started_with() -> None:
    loaded = load({"PHOTOLOG_PORT": "4000"}, options={"host": "0.0.0.0"})

    again = load(environment_of(loaded.settings, loaded.sources))

    assert again.settings.port == 4000
    assert again.sources["port"] == "environment PHOTOLOG_PORT"
    assert again.sources["host"] == "option --host"
    assert again.sources["workers"] == "default"
    assert again.unknown == ()


def test_states_leave_redis_only_if_events_do() -> None:
    with pytest.raises(UserError, match="PHOTOLOG_ARCHIVE_KEEP_S or PHOTOLOG_ARCHIVE_KEEP_BYTES"):
        check(Settings(archive_keep_states_s=60.0))

    check(Settings(archive_keep_states_s=60.0, archive_keep_s=60.0))

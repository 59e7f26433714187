"""Load settings from options, environment and file, and show their values.

A command line option wins over the environment, the environment over the file. An empty variable
counts as unset.
"""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, inspect

from domain.pipeline.failures import Category
from domain.pipeline.retries import STRATEGIES
from ops.config.rate_settings import RATES, complete, form
from ops.config.setting_values import SECRET, WITHOUT_PASSWORD, accepted
from ops.config.settings import HINTS, PARTS, PREFIX, RETRY, Settings, variable_of
from ops.config.strategies import FORM, parse, text_of
from ops.errors import UserError

SOURCES = "PHOTOLOG_SETTING_SOURCES"
"""In the environment of a role that ``photolog up`` has started: the sources of its settings."""

CLIENT_VARIABLES = {"PHOTOLOG_CONFIG", "PHOTOLOG_URL", "PHOTOLOG_TOKEN", SOURCES}
"""Variables that the command line itself reads; they do not configure a running system."""

MASK = "********"

_OPEN = {"db", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_cert_reqs", "ssl_check_hostname"}
"""Query parameters of a Redis URL that are shown; any other may hold a secret."""


class SettingsError(UserError):
    """A setting has an invalid value; the message says which, where it came from, and why."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Settings, and the source of each value by the name of its setting.

    ``unknown`` are variables with our prefix that name no setting: they are probably misspelt.
    """

    settings: Settings
    sources: dict[str, str]
    unknown: tuple[str, ...] = ()


def load(
    environ: Mapping[str, str] | None = None,
    *,
    file: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Loaded:
    """Load the settings from ``environ`` (default: that of this process), file and options.

    An option that is None was not given.

    Raises:
        SettingsError: a value is invalid, or the file is unreadable or names an unknown setting.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    sources = dict.fromkeys(HINTS, "default")
    for name, value in _read(file).items() if file else ():
        values[name] = _convert(name, value, f"{name} in {file}", strict=True)
        sources[name] = f"file {file}"
    passed_on = _passed_on(environ)
    for name in HINTS:
        variable = variable_of(name)
        if text := environ.get(variable):
            values[name] = _convert(name, text, variable, strict=False)
            sources[name] = passed_on.get(name, f"environment {variable}")
    for name, value in (options or {}).items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            values[name] = _convert(name, value, option, strict=False)
            sources[name] = f"option {option}"
    known = CLIENT_VARIABLES | {variable_of(name) for name in HINTS}
    unknown = tuple(sorted(n for n in environ if n.startswith(PREFIX) and n not in known))
    return Loaded(settings=Settings(**values), sources=sources, unknown=unknown)


def hint(name: str) -> str:
    """Return what to add to an error that names an unknown setting."""
    close = get_close_matches(name.lower().removeprefix(PREFIX.lower()), HINTS, 1)
    return f": did you mean {close[0]}?" if close else "; `photolog config` lists them all"


def parts() -> dict[str, list[str]]:
    """Return the names of all settings, in order, by the title of their part."""
    found: dict[str, list[str]] = {}
    title = ""
    for name in HINTS:
        title = PARTS.get(name, title)
        found.setdefault(title, []).append(name)
    return found


def environment_of(settings: Settings, sources: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return variables from which ``load`` restores these settings in another process.

    With ``sources``, it restores the source of each setting too.
    """
    values = msgspec.structs.asdict(settings) | {"data": str(settings.folder)}
    found = {variable_of(name): str(value) for name, value in values.items() if value is not None}
    return found if sources is None else found | {SOURCES: msgspec.json.encode(sources).decode()}


def describe(name: str) -> tuple[str, str]:
    """Return what the setting means, and which values it accepts."""
    metas = cast("tuple[Meta, ...]", HINTS[name].__metadata__)
    meaning = next(meta.description for meta in metas if meta.description)
    if name in RATES:
        return meaning, form(name)
    return meaning, FORM if name.startswith(RETRY) else accepted(inspect.type_info(HINTS[name]))


def shown(name: str, value: object) -> str:
    """Return the value as text without secrets, which anyone may see."""
    if value is None:
        return "unset"
    if SECRET in HINTS[name].__metadata__:
        return MASK
    if WITHOUT_PASSWORD in HINTS[name].__metadata__:
        return _without_password(str(value))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the sources that the process that started this one has passed on."""
    try:
        return msgspec.json.decode(environ.get(SOURCES, "{}"), type=dict[str, str])
    except msgspec.DecodeError:
        return {}


def _read(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}") from error
    for name in values:
        if name not in HINTS:
            raise SettingsError(f"unknown setting {name} in {file}{hint(name)}")
    return values


def _convert(name: str, value: object, where: str, *, strict: bool) -> Any:
    """Return the value in the type of the setting; ``where`` names its source in errors."""
    try:
        found = msgspec.convert(value, HINTS[name], strict=strict)
    except msgspec.ValidationError as error:
        given = shown(name, value)
        raise SettingsError(f"{where} must be {describe(name)[1]} (got {given!r})") from error
    return _completed(name, found, where) if name.startswith(RETRY) or name in RATES else found


def _completed(name: str, text: str, where: str) -> str:
    """Return the strategy or rate with all defaults that the text omits, to be shown."""
    try:
        if name in RATES:
            return complete(name, text)
        return text_of(parse(text, STRATEGIES[Category(name.removeprefix(RETRY))]))
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from error


def _without_password(url: str) -> str:
    """Hide the password, most values of the query, and all of a URL whose password is cut off."""
    parts = urlsplit(url)
    if "@" in parts.path + parts.query + parts.fragment or parts.fragment:
        return f"{parts.scheme}://{MASK}"
    pairs = [each.partition("=") for each in parts.query.split("&") if each]
    query = "&".join(f"{name}={text if name in _OPEN else MASK}" for name, _, text in pairs)
    address, _, _ = url.partition("?")
    if parts.password is not None:
        user, _, _ = parts.netloc.partition(":")
        host = parts.netloc.rpartition("@")[2]
        address = f"{parts.scheme}://{user}:{MASK}@{host}{parts.path}"
    return address + (query and f"?{query}")

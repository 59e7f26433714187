"""Which versions of bundled libraries and locked packages are known to be vulnerable.

``advisories.toml`` beside this file lists, for each library and package, the versions that fixed
what is known. ``ops.maintenance.advisory_sources`` compares the list with its sources.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources

import msgspec

NAMED = 3
"""Advisories that a finding names; more are counted."""

Version = tuple[int, ...]

_VERSION = re.compile(r"\d+(?:\.\d+)*")


class Fix(msgspec.Struct, frozen=True, kw_only=True):
    """``version`` is the first one without the flaws ``ids``, which are CVE or GHSA numbers."""

    version: str
    ids: list[str]


class Harmless(msgspec.Struct, frozen=True, kw_only=True):
    """Advisories about parts that Photolog does not use, and the reason."""

    ids: list[str]
    because: str


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A library or package. ``debian`` is the package of Debian whose changelog names its flaws.

    ``unfixed`` are flaws of every version.
    """

    debian: str | None = None
    unfixed: list[str] = []
    fixed: list[Fix] = []
    harmless: list[Harmless] = []

    @property
    def ids(self) -> set[str]:
        listed = {each for entry in (*self.fixed, *self.harmless) for each in entry.ids}
        return listed | {*self.unfixed}


class Advisories(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``library`` are C libraries inside wheels, ``package`` are locked Python packages."""

    library: dict[str, Subject]
    package: dict[str, Subject]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """``name`` has the known flaws ``ids`` in ``version``; None if no version is without them."""

    name: str
    version: str
    fixed_in: str | None
    ids: list[str]

    def __str__(self) -> str:
        named, more = ", ".join(self.ids[:NAMED]), len(self.ids) - NAMED
        named += f" and {more} more" if more > 0 else ""
        said = f"{self.name} {self.version} is vulnerable ({named})"
        if self.fixed_in is None:
            return f"{said}, like every version of it"
        return f"{said}, fixed in {self.fixed_in}"


@cache
def advisories() -> Advisories:
    """Return the list that this version of Photolog ships with."""
    text = resources.files("ops.maintenance").joinpath("advisories.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), Advisories)


def vulnerable(subjects: Mapping[str, Subject], versions: Mapping[str, str]) -> list[Finding]:
    """Return a finding for each of ``versions`` that is older than a fix; unlisted names pass."""
    return list(_findings(subjects, versions))


def number(version: str) -> str:
    """Return the numbers at the front: ``1.5.3`` of ``1.5.3-0-gb546257``.

    Raises:
        ValueError: there is no number.
    """
    found = _VERSION.search(version)
    if found is None:
        raise ValueError(f"{version!r} is not a version")
    return found.group()


def parsed(version: str) -> Version:
    """Return what versions are compared by; 13.0 equals 13.0.0. Raises as ``number``."""
    numbers = [int(part) for part in number(version).split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _findings(subjects: Mapping[str, Subject], versions: Mapping[str, str]) -> Iterator[Finding]:
    for name, version in sorted(versions.items()):
        listed = subjects.get(name, Subject())
        missed = [fix for fix in listed.fixed if parsed(fix.version) > parsed(version)]
        missed.sort(key=lambda fix: parsed(fix.version))
        ids = [each for fix in missed for each in fix.ids]
        if listed.unfixed:
            yield Finding(name=name, version=version, fixed_in=None, ids=[*listed.unfixed, *ids])
        elif missed:
            yield Finding(name=name, version=version, fixed_in=missed[-1].version, ids=ids)

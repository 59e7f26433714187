"""Compare ``advisories.toml`` with Debian: ``python -m ops.maintenance.advisory_sources``.

Debian's changelogs name the advisories that each version fixed, and a package mirror is often
reachable where vulnerability databases are not. This command downloads the current packages of
Debian's development suite with ``apt-get``, reads their changelogs, and prints the advisories that
the list lacks, as lines to add after a review. The exit status is 1 if any are lacking.

A version is the upstream version that came with the entry. An entry that backports a fix to an
older version counts for the next upstream version after it.
"""

import gzip
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from ops.event_format import say
from ops.maintenance.advisories import Subject, advisories, number

SUITE = "sid"
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"

SINCE = "2023"
"""Older advisories are not listed: no wheel in the lock is that old."""

_ENTRY = re.compile(r"^\S+ \((?:\d+:)?([^)]+)\) \S+;", re.MULTILINE)
_ADVISORY = re.compile(r"\bCVE-\d{4}-\d+\b|\bGHSA(?:-[a-z0-9]{4}){3}\b")
_UPSTREAM = re.compile(r"new upstream|upstream (?:version|release)", re.IGNORECASE)
_SIGNED = re.compile(r"^ -- .*, \d+ \w+ (\d{4}) ", re.MULTILINE)


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """An advisory that a changelog names; ``version`` is None while Debian has no release of it."""

    id: str
    version: str | None


def named_in(changelog: str) -> Iterator[Named]:
    """Yield the advisories of a changelog, whose newest entry comes first."""
    heads = [*_ENTRY.finditer(changelog)]
    upstream: str | None = None
    seen: set[str] = set()
    for head, after in zip(heads, [*heads[1:], None], strict=True):
        text = changelog[head.end() : after.start() if after else None]
        signed = _SIGNED.search(text)
        if signed is not None and signed.group(1) < SINCE:
            return
        if _UPSTREAM.search(text):
            upstream = number(head.group(1))
        for advisory in dict.fromkeys(_ADVISORY.findall(text)):
            if advisory not in seen:
                seen.add(advisory)
                yield Named(id=advisory, version=upstream)


def missing(subject: Subject, changelog: str) -> list[Named]:
    """Return the advisories of a changelog that the list does not have for this subject."""
    return [each for each in named_in(changelog) if each.id not in subject.ids]


class Apt:
    """The packages of ``SUITE``, read with apt-get, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        lists, cache = folder / "lists", folder / "cache"
        (lists / "partial").mkdir(parents=True)
        (cache / "archives" / "partial").mkdir(parents=True)
        source = folder / "sources.list"
        source.write_text(f"deb [signed-by={KEYS}] {_mirror()} {SUITE} main\n", "utf-8")
        options = {
            "Dir::Etc::sourcelist": source,
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": lists,
            "Dir::Cache": cache,
            "APT::Sandbox::User": "root",
        }
        self._options = [f"-o{name}={value}" for name, value in options.items()]
        self._run("update", "-qq")

    def download(self, packages: Iterable[str]) -> None:
        """Fetch all packages in one call: apt-get takes a second to begin."""
        self._run("download", "-qq", *packages)

    def changelog(self, package: str) -> str:
        """Return the changelog of a package that was downloaded."""
        (archive,) = self._folder.glob(f"{package}_*.deb")
        content = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", archive], capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            for name in ("changelog.Debian.gz", "changelog.gz"):
                member = f"./usr/share/doc/{package}/{name}"
                if member in tar.getnames() and (file := tar.extractfile(member)) is not None:
                    return gzip.decompress(file.read()).decode("utf-8", "replace")
        return ""

    def _run(self, *arguments: str) -> None:
        command = ["apt-get", *self._options, *arguments]
        subprocess.run(command, cwd=self._folder, check=True)


def _mirror() -> str:
    """Return the mirror that this machine uses."""
    found = re.search(r"^URIs: *(\S+)", SOURCES.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{SOURCES} names no Debian mirror: it needs a line `URIs: …`")
    return found.group(1)


def main() -> int:
    listed = advisories()
    kinds = {"library": listed.library, "package": listed.package}
    subjects = [
        (f"{kind}.{name}", subject, subject.debian)
        for kind, named in kinds.items()
        for name, subject in named.items()
        if subject.debian is not None
    ]
    lacking = 0
    with tempfile.TemporaryDirectory() as folder:
        apt = Apt(Path(folder))
        apt.download(package for _, _, package in subjects)
        for name, subject, package in subjects:
            for each in missing(subject, apt.changelog(package)):
                lacking += 1
                say(f"{name}: {each.id}, fixed in {each.version or 'no release yet'}")
    say(f"{lacking} advisories are not in the list")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())

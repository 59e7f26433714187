"""The guide to metadata names the tests that state its rules, and every source of a time."""

import re
from pathlib import Path
from typing import get_args

import pytest

from handlers.imaging.metadata.dates import Source

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "ops" / "guides" / "metadata.md").read_text()
TESTS = "\n".join(
    path.read_text()
    for folder in ("imaging", "stages")
    for path in (ROOT / "tests" / "handlers" / folder).rglob("test_*.py")
)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", GUIDE))))
def test_every_test_that_the_guide_names_exists(name: str) -> None:
    assert f"def {name}(" in TESTS


def test_every_choice_names_its_test() -> None:
    table = [line for line in GUIDE.splitlines() if line.startswith("|")][2:]

    assert [line for line in table if "`test_" not in line] == []


@pytest.mark.parametrize("source", get_args(Source))
def test_every_source_of_a_time_is_named(source: str) -> None:
    assert f"`{source}`" in GUIDE.partition("## The names of sources")[2]

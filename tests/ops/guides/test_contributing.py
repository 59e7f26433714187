"""What contributors are told to run is what CI runs."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
CI = (ROOT / ".ci" / "run").read_text("utf-8")
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")

LINTERS = re.findall(
    r"^uv run --no-sync .+$", CI.partition("== linters")[2].partition("== tests")[0], re.MULTILINE
)


def test_the_hooks_run_the_linters_of_ci() -> None:
    found: Any = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))

    assert [repo["repo"] for repo in found["repos"]] == ["local"]
    assert [hook["entry"] for hook in found["repos"][0]["hooks"]] == LINTERS


def test_contributing_names_the_linters_of_ci() -> None:
    named = re.findall(r"^uv run (?!pytest).+$", CONTRIBUTING, re.MULTILINE)

    assert named == [line.replace(" --no-sync", "") for line in LINTERS]


def test_contributing_names_every_tier_of_tests() -> None:
    tiers = {path.parent.name for path in (ROOT / "tests").glob("*/__init__.py")}

    assert set(re.findall(r"^\| `uv run pytest tests/(\w+)`", CONTRIBUTING, re.MULTILINE)) == tiers

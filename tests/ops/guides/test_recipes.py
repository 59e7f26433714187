"""The recipes of ``ops/guides/extending.md``, carried out in a copy of the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.guides.recipes import GUIDE, ROOT, apply, copy_repository

BIN = Path(sys.executable).parent

DEADLINE_S = 120.0


def run(folder: Path, program: str, *arguments: str) -> None:
    """Run a tool of the tests' environment on the packages of the folder."""
    environment = {name: text for name, text in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        [str(BIN / program), *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files."""
    folder = tmp_path_factory.mktemp("copy")
    copy_repository(folder)
    return folder


def test_every_recipe_does_what_it_says(copy: Path) -> None:
    named = apply(copy)
    checks = [path for path in named if path.rpartition("/")[2].startswith("test_")]
    assert len(checks) >= 6

    run(copy, "ruff", "check", *named)
    run(copy, "ruff", "format", "--check", *named)
    run(copy, "lint-imports", "--no-cache")
    run(copy, "python", "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *new(checks))


def new(paths: list[str]) -> list[str]:
    """Those that the repository does not have: what the guide adds shows that it works."""
    return [path for path in paths if not (ROOT / path).exists()]


def test_each_recipe_has_a_check() -> None:
    for recipe in GUIDE.split("\n## ")[1:]:
        assert "New file `tests/" in recipe, recipe.partition("\n")[0]

"""The recipes of ``ops/guides/extending.md``, carried out in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "ops" / "guides" / "extending.md").read_text("utf-8")
BIN = Path(sys.executable).parent

STEP = re.compile(
    r"^New file `(?P<new>[^`]+)`[^\n]*:\n\n```python\n(?P<content>.*?)^```$"
    r"|^```diff\n--- (?P<changed>\S+)\n(?P<change>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
DEADLINE_S = 120.0


def apply(folder: Path) -> list[str]:
    """Do what the guide says in the folder; return the paths of all files it names, in order."""
    named: dict[str, None] = {}
    for step in STEP.finditer(GUIDE):
        path = step["new"] or step["changed"]
        named[path] = None
        file = folder / path
        if step["new"]:
            assert not file.exists(), f"{path} exists already"
            file.write_text(step["content"], "utf-8")
            continue
        text = file.read_text("utf-8")
        for hunk in step["change"].split("@@\n"):
            text = changed(text, hunk, path)
        file.write_text(text, "utf-8")
    return list(named)


def changed(text: str, hunk: str, path: str) -> str:
    """Return the text after one hunk; what it names must stand in the file exactly once."""
    lines = hunk.splitlines()
    kept = [line for line in lines if not line.startswith("+")]
    pattern = "".join(f"{_pattern(line[1:])}\n" for line in kept)
    found = list(re.finditer(f"^{pattern}", text, re.MULTILINE))
    assert len(found) == 1, f"{path} has {len(found)} places like this:\n{hunk}"
    standing = iter(found[0][0].splitlines())
    result: list[str] = []
    for line in lines:
        if line.startswith("+"):
            result.append(line[1:])
        elif line.startswith("-"):
            next(standing)
        else:
            result.append(next(standing))
    before, after = text[: found[0].start()], text[found[0].end() :]
    return before + "".join(f"{line}\n" for line in result) + after


def _pattern(line: str) -> str:
    start, cut, _ = line.partition("…")
    return re.escape(start) + (".*" if cut else "")


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
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for path in listed.stdout.split("\0"):
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)
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

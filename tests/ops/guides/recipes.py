"""Carry out the recipes of ``ops/guides/extending.md`` in a copy of the repository."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "ops" / "guides" / "extending.md").read_text("utf-8")

STEP = re.compile(
    r"^New file `(?P<new>[^`]+)`[^\n]*:\n\n```python\n(?P<content>.*?)^```$"
    r"|^```diff\n--- (?P<changed>\S+)\n(?P<change>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


def recipe(name: str) -> str:
    """Return the part of the guide under this heading."""
    found = [part for part in GUIDE.split("\n## ")[1:] if part.startswith(f"{name}\n")]
    assert len(found) == 1, f"the guide has {len(found)} recipes for {name!r}"
    return found[0]


def copy_repository(folder: Path) -> None:
    """Copy the tracked files into the folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for path in listed.stdout.split("\0"):
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)


def apply(folder: Path, guide: str = GUIDE) -> list[str]:
    """Do what the guide says in the folder; return the paths of all files it names, in order."""
    named: dict[str, None] = {}
    for step in STEP.finditer(guide):
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

"""The private names of libraries that ``ops/guides/decisions/private-apis.md`` lists."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "ops" / "guides" / "decisions" / "private-apis.md").read_text("utf-8")
ROW = re.compile(r"^\| `([\w.]+)` \| `([\w./]+)` \| ([^|]+) \|$", re.MULTILINE)

NAMES = [
    (path, file, name)
    for path, file, names in ROW.findall(PAGE)
    for name in re.findall(r"`(\w+)`", names)
]


@pytest.mark.parametrize(("path", "file", "name"), NAMES)
def test_the_library_has_the_name_and_we_use_it(path: str, file: str, name: str) -> None:
    module, _, cls = path.rpartition(".")
    found = getattr(import_module(module), cls)
    # What is only set in __init__ is no attribute of the class.
    sources = [inspect.getsource(each) for each in found.__mro__ if each is not object]

    assert hasattr(found, name) or any(f"self.{name}" in source for source in sources)
    assert re.search(rf"\b{name}\b", (ROOT / file).read_text("utf-8"))

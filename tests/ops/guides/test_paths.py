"""What the guides name is there: files, folders, functions, classes and links."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GUIDES = [
    *(ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / ".github" / "CONTRIBUTING.md"),
    *sorted((ROOT / "ops" / "guides").rglob("*.md")),
]
PACKAGES = "domain|store|projections|handlers|gateway|ops|tests"

PATH = re.compile(rf"`((?:{PACKAGES})/[\w./-]*|[\w.]+/[\w./-]+\.(?:py|lua|md|toml|yaml))`")
SYMBOL = re.compile(rf"`([A-Za-z_][\w.]*)` \(`((?:{PACKAGES})/[\w/]+\.py)`\)")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def text_of(guide: Path) -> str:
    """Return the guide without its blocks of code, which have tests of their own."""
    return re.sub(r"^```.*?^```$", "", guide.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def made_by(guide: Path) -> set[str]:
    """Return the files that a reader of the guide makes."""
    return set(re.findall(r"^New file `([^`]+)`", guide.read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_every_path_that_a_guide_names_exists(guide: Path) -> None:
    named = set(PATH.findall(text_of(guide))) - made_by(guide)

    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_every_link_between_guides_leads_somewhere(guide: Path) -> None:
    links = LINK.findall(text_of(guide))

    assert [link for link in links if not (guide.parent / link).exists()] == []


def symbols() -> list[tuple[str, str]]:
    guide = ROOT / "ops" / "guides" / "architecture.md"
    return sorted(set(SYMBOL.findall(text_of(guide))))


@pytest.mark.parametrize(("symbol", "path"), symbols())
def test_every_function_and_class_of_the_architecture_exists(symbol: str, path: str) -> None:
    source = (ROOT / path).read_text("utf-8")

    for name in symbol.split("."):
        defined = rf"^\s*(?:(?:async )?def|class) {name}\b|^{name}(?:: .+)? = "
        assert re.search(defined, source, re.MULTILINE), f"{path} defines no {name}"


def test_every_term_of_the_glossary_is_defined_once() -> None:
    guide = (ROOT / "ops" / "guides" / "architecture.md").read_text("utf-8")
    terms = re.findall(r"^\| ([^|]+) \|", guide.partition("## Glossary")[2], re.MULTILINE)[1:]

    assert terms == sorted(set(terms), key=str.casefold)
    assert len(terms) > 30


def test_every_room_is_in_the_architecture() -> None:
    guide = (ROOT / "ops" / "guides" / "architecture.md").read_text("utf-8")
    packages = ("domain", "store", "projections", "handlers", "gateway", "ops")
    rooms = {
        f"{path.parent.relative_to(ROOT)}/"
        for package in packages
        for path in (ROOT / package).glob("*/__init__.py")
    }

    assert [room for room in sorted(rooms) if f"| `{room}` |" not in guide] == []

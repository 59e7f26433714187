"""Assemble a page so that a browser needs few round trips: addresses, modules and style sheets.

A page is written as plain files that name each other. As it is sent,

- the addresses of its files begin with a version, the SHA-256 of all files, so that browsers can
  keep them for good; relative imports between modules stay within the version by themselves,
- every module that its scripts import, however deep, is preloaded: a browser would otherwise learn
  of each level of imports only after a round trip. Those of an ``async`` script come first, and
  its API requests overtake the others,
- of the texts, which are imported when the language is known, those of the browser's language are,
- its style sheets are one file,
- modules leave out the comments that describe their functions and types, a quarter of their bytes.
  Each line keeps its number.
"""

import hashlib
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping

LANGUAGES = ("en", "de")
"""The languages of the texts, the default first."""

VERSION = re.compile(r"[0-9a-f]{16}")
"""The form of a version in an address."""

ROOT = "/pages/"

_STATIC = re.compile(r'^(?:import|export)\b[^"\';]*?"(\.{1,2}/[^"]+)";', re.MULTILINE)
_LATER = re.compile(r'=> import\("(\.{1,2}/[^"]+)"\)')
_SCRIPT = re.compile(r'^<script type="module"[^>]* src="/pages/([^"]+)"></script>\n', re.MULTILINE)
_EARLY = re.compile(r'^<script type="module" async src="/pages/([^"]+)"', re.MULTILINE)
_PRIORITY = {True: "", False: ' fetchpriority="low"'}
_DESCRIPTION = re.compile(r"^[ \t]*/\*\*(?:(?!\*/).)*\*/[ \t]*$", re.MULTILINE | re.DOTALL)
_SHEETS = re.compile(r'(?:^<link rel="stylesheet" href="/pages/[^"]+">\n)+', re.MULTILINE)
_SHEET = re.compile(r'href="/pages/([^"]+)"')
_KEPT = re.compile(r'(?<==")/pages/([^"]+\.(?:css|js|svg))(?=")')


def version_of(files: Mapping[str, bytes]) -> str:
    """Return the version of all files, by name."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name} {len(files[name])} ".encode() + files[name])
    return total.hexdigest()[:16]


def sheet_of(page: str) -> str:
    """Return the name of the style sheet of a page, such as ``index.css`` of ``index.html``."""
    return f"{page.removesuffix('.html')}.css"


def joined_sheets(files: Mapping[str, bytes], page: str) -> bytes:
    """Return the style sheets of a page in their order."""
    return b"".join(files[name] for name in _SHEET.findall(_sheets(files[page].decode())))


def undescribed(module: bytes) -> bytes:
    """Return the module without comments that begin with ``/**`` and fill lines of their own."""
    return _DESCRIPTION.sub(lambda found: "\n" * found[0].count("\n"), module.decode()).encode()


def assembled(files: Mapping[str, bytes], page: str, language: str) -> bytes:
    """Return the HTML of a page as it is sent to a browser in ``language``."""
    html = files[page].decode()
    scripts = _SCRIPT.findall(html)
    early = modules(files, _EARLY.findall(html), language)
    links = "".join(
        f'<link rel="modulepreload"{_PRIORITY[name in early]} href="{ROOT}{name}">\n'
        for name in dict.fromkeys((*early, *modules(files, scripts, language)))
        if name not in scripts
    )
    last = [each.end() for each in _SCRIPT.finditer(html)][-1]
    html = html[:last] + links + html[last:]
    html = _SHEETS.sub(f'<link rel="stylesheet" href="{ROOT}{sheet_of(page)}">\n', html)
    return _KEPT.sub(rf"{ROOT}{version_of(files)}/\1", html).encode()


def modules(files: Mapping[str, bytes], entries: Collection[str], language: str) -> list[str]:
    """Return the modules that ``entries`` load, themselves included, nearest first.

    Raises:
        KeyError: a module imports one that is not in ``files``.
    """
    found = list(entries)
    for name in found:  # grows meanwhile
        found += [
            each for each in dict.fromkeys(_imports(files, name, language)) if each not in found
        ]
    return found


def language_of(accepted: str) -> str:
    """Return the language of the header Accept-Language: its first one that has texts."""
    for each in accepted.lower().split(","):
        language = each.partition(";")[0].strip().partition("-")[0]
        if language in LANGUAGES:
            return language
    return LANGUAGES[0]


def _imports(files: Mapping[str, bytes], name: str, language: str) -> Iterator[str]:
    text = files[name].decode()
    later = [each for each in _LATER.findall(text) if _language_of_texts(each) == language]
    for each in (*_STATIC.findall(text), *later):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(name), each))


def _language_of_texts(name: str) -> str:
    """Return the language of ``texts/console-de.js`` or ``texts/de.js``."""
    return name.removesuffix(".js").rpartition("/")[2].rpartition("-")[2]


def _sheets(html: str) -> str:
    found = _SHEETS.search(html)
    return found[0] if found else ""

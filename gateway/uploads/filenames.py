"""Clean the file names that users send and receive. They are displayed, never used as a path."""

import re
import unicodedata
from urllib.parse import quote

UNNAMED = "unnamed"
EXTENSION_MAX = 16
"""The longest extension, in bytes with its dot, that is kept when a name is cut."""

# Marks that reorder the text around them, so that "gpj.exe" reads as "exe.jpg".
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Zero-width marks without meaning. Those that join letters or form emoji are kept.
_ZERO_WIDTH = frozenset("\u00ad\u180e\u200b\u2060\u2061\u2062\u2063\u2064\ufeff")
_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, lone surrogates, separators

# Characters that are invisible alone: joiners and tags, marks without a letter, spaces.
_BLANK = frozenset({"Cf", "Mn", "Me", "Zs"})
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")

# RFC 8187, section 3.2.1: characters that need no encoding in an extended value.
_ATTRIBUTE_CHARS = "!#$&+-.^_`|~"


def clean(name: str, max_bytes: int) -> str:
    """Return the last component of ``name``, in NFC, without controls, in at most ``max_bytes``.

    A name that is too long keeps its extension; an invisible one becomes ``UNNAMED``. Cleaning a
    name twice changes nothing.
    """
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(
        char
        for char in last
        if char not in _BIDI | _ZERO_WIDTH and unicodedata.category(char) not in _HIDDEN
    )
    name = _cut(unicodedata.normalize("NFC", shown).strip(), max_bytes)
    return name if any(_is_visible(char) for char in name) else UNNAMED


def _is_visible(char: str) -> bool:
    return (
        char != "."
        and char not in _BLANK_LETTERS
        and not char.isspace()
        and unicodedata.category(char) not in _BLANK
    )


def disposition(kind: str, name: str) -> str:
    """Return a ``Content-Disposition`` (RFC 6266) that all browsers understand, for any name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r'[^ !#$&-\[\]-~]|["%\\]', "_", plain)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE_CHARS)}"


def with_suffix(name: str, suffix: str) -> str:
    """Return ``name`` with ``suffix`` instead of its extension, as the name of a rendition."""
    stem, dot, _ = name.rpartition(".")
    return f"{stem if dot and stem else name}{suffix}"


def _cut(name: str, max_bytes: int) -> str:
    if len(name.encode()) <= max_bytes:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = f"{dot}{extension}" if stem else ""
    if len(tail.encode()) > EXTENSION_MAX:
        stem, tail = name, ""
    room = max_bytes - len(tail.encode())
    return (stem or name).encode()[:room].decode(errors="ignore").rstrip() + tail

"""Make names of files that every system accepts, and that no two files share on any."""

import re
import unicodedata

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³])\s*(\..*)?", re.IGNORECASE
)
_LONGEST_BYTES = 240
"""The maximum length of a name in UTF-8, before a mark is added; file systems take 255."""


def safe_name(name: str, mark: str = "") -> str:
    """Return the name as one that every system accepts, with ``mark`` before its extension."""
    safe = _UNSAFE.sub("_", name).rstrip(". ") or "_"
    if _RESERVED.fullmatch(safe):
        safe = f"_{safe}"
    stem, dot, extension = safe.rpartition(".")
    if not stem or len(extension.encode()) > 20:
        stem, dot, extension = safe, "", ""
    most = _LONGEST_BYTES - len(f"{dot}{extension}".encode())
    stem = stem.encode()[:most].decode(errors="ignore")
    return f"{stem}{mark}{dot}{extension}"


def compared(name: str) -> str:
    """Return what is equal for names that some system takes as the same."""
    return unicodedata.normalize("NFKC", name).casefold()

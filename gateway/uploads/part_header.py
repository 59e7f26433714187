"""Read the ``Content-Disposition`` of a form's part, as browsers and libraries write it.

| sender | a name like ``"ü".jpg`` |
|---|---|
| browsers (HTML, 4.10.22.7) | ``filename="%22ü%22.jpg"``; they encode only ``"``, CR and LF |
| RFC 9110, 5.6.4 | ``filename="\\"ü\\".jpg"`` |
| RFC 8187 | ``filename*=UTF-8''%22%C3%BC%22.jpg``, which precedes ``filename`` |
| .NET, RFC 2047 | ``filename="=?utf-8?B?IsO8Ii5qcGc=?="`` |
| some scripts | ``filename = ü.jpg``, without quotes, in UTF-8 or Latin-1 |

Values are shown to people and compared with field names. None is ever used as a path.
"""

import base64
import binascii
import quopri
import re
from urllib.parse import unquote_to_bytes

import msgspec

CHARSETS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "us-ascii": "ascii",
    "windows-1252": "cp1252",
}
"""The codec of each label that is understood, in lower case."""

_PARAMETER = re.compile(r"\s*([^=;\"\s]+)\s*=\s*", re.ASCII)
_END = re.compile(r"\s*(?:;|$)", re.ASCII)
_BROWSERS = re.compile(r"%(?:22|0D|0A)", re.IGNORECASE)
_EXTENDED = re.compile(r"([^']+)'[^']*'((?:[^%]|%[0-9A-Fa-f]{2})*)", re.DOTALL)
_WORD = r"=\?([^?\s]+?)(?:\*[^?\s]*)?\?([BbQq])\?([^?]*)\?="
_WORDS = re.compile(rf"{_WORD}(?:\s+{_WORD})*")
_ONE_WORD = re.compile(_WORD)


class InvalidHeader(ValueError):
    """The header cannot be read; the message says why, for the sender."""


class PartHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The ``name`` of the form's field; ``filename`` is None if the part is no file."""

    name: str
    filename: str | None


def parse(value: str) -> PartHeader:
    """Parse the header's value, of which each character stands for one byte (Latin-1).

    Raises:
        InvalidHeader: a parameter is missing, repeated or unreadable.
    """
    parameters = _parameters(value.partition(";")[2])
    name = _value_of(parameters, "name")
    if name is None:
        raise InvalidHeader("a Content-Disposition has no name")
    return PartHeader(name=name, filename=_value_of(parameters, "filename"))


def filename_of(value: str) -> str | None:
    """Return the file name in a header of a request, None without one; raises as ``parse``."""
    return _value_of(_parameters(value.partition(";")[2]), "filename")


def _value_of(parameters: dict[str, tuple[str, bool]], name: str) -> str | None:
    """Return the decoded value; one of RFC 8187 counts first, unless only the other is readable."""
    extended, plain = parameters.get(f"{name}*"), parameters.get(name)
    decoded = _extended(extended[0]) if extended else None
    if decoded:
        return decoded
    if plain is not None:
        return _plain(*plain)
    if decoded is None and extended is not None:
        raise InvalidHeader(f"{name}* is not in UTF-8 or ISO-8859-1, as RFC 8187 encodes it")
    return decoded


def _parameters(text: str) -> dict[str, tuple[str, bool]]:
    """Return each parameter by its name in lower case: its value, and whether it was escaped."""
    found: dict[str, tuple[str, bool]] = {}
    at = 0
    while at < len(text):
        if (end := _END.match(text, at)) is not None:  # an empty parameter
            at = max(end.end(), at + 1)
            continue
        start = _PARAMETER.match(text, at)
        if start is None:
            raise InvalidHeader("a parameter of Content-Disposition has no value")
        name = start[1].lower()
        if name in found:
            raise InvalidHeader(f"Content-Disposition has the parameter {name!r} twice")
        value, escaped, at = _value(text, start.end(), name)
        found[name] = value, escaped
    return found


def _value(text: str, at: int, name: str) -> tuple[str, bool, int]:
    """Return the value that begins at ``at``, whether it was escaped, and where the next begins."""
    if text[at : at + 1] != '"':
        value, _, rest = text[at:].partition(";")
        return value.strip(), False, len(text) - len(rest)
    # A path of Windows may end with a backslash before the closing quote.
    for escapes in (True, False):
        close = _closing_quote(text, at + 1, escapes)
        if close is not None:
            quoted = text[at + 1 : close]
            escaped = escapes and '\\"' in quoted
            if escaped:
                quoted = re.sub(r'\\(["\\])', r"\1", quoted)
            end = _END.match(text, close + 1)
            return quoted, escaped, end.end() if end else len(text)
    raise InvalidHeader(f"the value of {name} has no closing quote")


def _closing_quote(text: str, at: int, escapes: bool) -> int | None:
    """Return where the value ends: at a quote that ends the parameter too."""
    while at < len(text):
        if escapes and text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            at += 2
            continue
        if text[at] == '"' and _END.match(text, at + 1):
            return at
        at += 1
    return None


def _plain(value: str, escaped: bool) -> str:
    text = _of_bytes(value.encode("latin-1"))
    if _WORDS.fullmatch(text):
        return _encoded_words(text)
    if escaped:  # browsers do not write backslashes
        return text
    return _BROWSERS.sub(lambda match: chr(int(match[0][1:], 16)), text)


def _of_bytes(raw: bytes) -> str:
    """Decode UTF-8, which HTML prescribes, or else what Latin-1 stands for on the web."""
    for charset in ("utf-8", "cp1252"):
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def _extended(value: str) -> str | None:
    """Decode an extended value (RFC 8187, 3.2), also in quotes; None if it cannot be read."""
    match = _EXTENDED.fullmatch(value)
    charset = CHARSETS.get(match[1].strip().lower()) if match else None
    if match is None or charset is None:
        return None
    try:
        return unquote_to_bytes(match[2].encode("latin-1")).decode(charset)
    except UnicodeDecodeError:
        return None


def _encoded_words(text: str) -> str:
    """Decode encoded words (RFC 2047), or return the text unchanged if one cannot be read.

    Words of one charset are joined first, because some senders cut them within a character.
    """
    runs: list[tuple[str, bytes]] = []
    for charset, kind, data in _ONE_WORD.findall(text):
        codec, raw = CHARSETS.get(charset.lower()), _bytes_of(kind, data)
        if codec is None or raw is None:
            return text
        if runs and runs[-1][0] == codec:
            raw = runs.pop()[1] + raw
        runs.append((codec, raw))
    try:
        return "".join(raw.decode(codec) for codec, raw in runs)
    except UnicodeDecodeError:
        return text


def _bytes_of(kind: str, data: str) -> bytes | None:
    if not data.isascii():
        return None
    if kind in "Qq":
        return quopri.decodestring(data, header=True)
    try:
        return base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    except binascii.Error:
        return None

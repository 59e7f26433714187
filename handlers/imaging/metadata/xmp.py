"""Read the properties of an XMP packet (ISO 16684-1).

Packets come from strangers: ``defusedxml`` parses them, so that a document type or a reference to
another file ends the reading. An entity without a definition costs the text that has it; bytes and
characters that XML does not allow are read as well as possible. A packet that is not well-formed
otherwise has no properties.
"""

import codecs
import re
import sys
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import msgspec
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring  # pyright: ignore[reportUnknownVariableType]

from handlers.imaging.metadata.tiff_directory import Number
from handlers.imaging.metadata.values import MAX_NAME, MAX_TEXT, decode, tidy

MAX_BYTES = 256 << 10
MAX_PROPERTIES = 1_000
MAX_ITEMS = 100
"""Of one property; a packet with more has the rest ignored."""

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"

_NAMESPACES = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/rights/": "xmpRights",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://cipa.jp/exif/1.0/": "exifEX",
}
"""The usual prefixes; those in the packet are arbitrary."""

_NOTE = {"http://ns.adobe.com/xmp/note/": "xmpNote"}

_ROOT = re.compile(r"<((?:[\w.-]+:)?(?:xmpmeta|xapmeta|RDF))[\s>]")
"""Prefixes are arbitrary, and so is whether the root is that of XMP or of RDF."""

_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
"""By how a packet begins (ISO 16684-1, 7.3.2)."""

# A decoder process cannot load a codec later, because it cannot open files.
for _beginning, _codec in _ENCODINGS:
    codecs.lookup(_codec)

_FORBIDDEN = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
"""Characters that XML 1.0 (2.2) does not allow."""

_REFERENCE = re.compile(r"&(?:(#\d{1,9}|#[xX][0-9a-fA-F]{1,8}|[\w.-]{1,99});)?")
_PREDEFINED = {"amp", "lt", "gt", "quot", "apos"}
_UNDEFINED = "\ufdd0"
"""Stands for an entity without a definition: a character that no text has (Unicode, 23.7)."""


class Properties(msgspec.Struct, frozen=True, kw_only=True):
    """Texts by property, such as ``dc:title``. An alternative has its default language first."""

    texts: Mapping[str, tuple[str, ...]] = {}

    def name(self, name: str) -> str | None:
        """Return the first text of the property, at most as long as a name."""
        return next(iter(self.names(name)), None)

    def names(self, name: str) -> tuple[str, ...]:
        found = (tidy(text, MAX_NAME) for text in self.texts.get(name, ()))
        return tuple(text for text in found if text)

    def text(self, name: str) -> str | None:
        found = (tidy(text, MAX_TEXT) for text in self.texts.get(name, ()))
        return next(filter(None, found), None)

    def numbers(self, name: str) -> tuple[Number | None, ...]:
        """Return numbers as XMP writes them: ``24/1 70/1``, or one in each item."""
        words = " ".join(self.texts.get(name, ())[:MAX_ITEMS])[:MAX_NAME].split()
        return tuple(map(_number, words))


def read(packet: bytes, extended: bytes = b"") -> Properties:
    """Return the properties of the packet, and those that only an ``extended`` one has.

    A packet that cannot be read has none.
    """
    texts: dict[str, tuple[str, ...]] = {}
    for name, items in (*_properties(packet), *_properties(extended)):
        if len(texts) >= MAX_PROPERTIES:
            break
        texts.setdefault(name, items)
    return Properties(texts=texts)


def extension_of(packet: bytes) -> bytes:
    """Return the name of the extended packet that belongs to this one (part 3, 1.1.3.1)."""
    return next((found for _, (found, *_) in _properties(packet, _NOTE)), "").encode()


def _properties(
    packet: bytes, namespaces: Mapping[str, str] = _NAMESPACES
) -> list[tuple[str, tuple[str, ...]]]:
    if not packet or len(packet) > MAX_BYTES:
        return []
    text = _root_of(packet)
    root = _parsed(text)
    if root is None:
        root = _parsed(_REFERENCE.sub(_resolved, _FORBIDDEN.sub("", text)))
    if root is None:
        return []
    described = next(root.iter(f"{_RDF}RDF"), ())
    return [
        (name, known)
        for node in described
        for name, items in _of_node(node, namespaces)
        if (known := tuple(text for text in items if _UNDEFINED not in text))
    ]


def _root_of(packet: bytes) -> str:
    """Return the root element, or an empty string if the packet has none.

    A declared encoding and a document type before it are dropped.
    """
    encoding = next((name for begin, name in _ENCODINGS if packet.startswith(begin)), None)
    text = packet.decode(encoding, "replace") if encoding else decode(packet)
    start = _ROOT.search(text)
    end = f"</{start[1]}>" if start else ""
    last = text.rfind(end)
    if start is None or last < start.start():
        return ""
    return text[start.start() : last + len(end)]


def _parsed(text: str) -> Element | None:
    try:
        root: Any = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError):
        return None
    return root


def _resolved(reference: re.Match[str]) -> str:
    """Return a reference that XML allows, in place of any other (4.1)."""
    name = reference[1]
    if name is None:
        return "&amp;"
    if not name.startswith("#"):
        return reference[0] if name in _PREDEFINED else _UNDEFINED
    number = int(f"0{name[1:]}", 16) if name[1] in "xX" else int(name[1:])
    is_allowed = number <= sys.maxunicode and not _FORBIDDEN.match(chr(number))
    return reference[0] if is_allowed else ""


def _of_node(node: Element, namespaces: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Iterate over the properties of the photo; those of its parts and sources are deeper."""
    for attribute, value in node.attrib.items():
        if name := _name(attribute, namespaces):
            yield name, (value,)
    for child in node:
        if name := _name(child.tag, namespaces):
            yield name, _items(child)


def _name(tag: str, namespaces: Mapping[str, str]) -> str | None:
    namespace, _, local = tag[1:].rpartition("}")
    prefix = namespaces.get(namespace)
    return None if prefix is None else f"{prefix}:{local}"


def _items(element: Element) -> tuple[str, ...]:
    """Return the items of an array, or the text of a simple value."""
    items = [item for container in element for item in container if item.tag == f"{_RDF}li"]
    if not items:
        return (_text(element),)
    # Sorting keeps the order of the others.
    items.sort(key=lambda item: item.get(_LANGUAGE, "x-default").lower() != "x-default")
    return tuple(map(_text, items[:MAX_ITEMS]))


def _text(element: Element) -> str:
    """Return the text, also of a value with qualifiers (ISO 16684-1, 7.8)."""
    value = next(element.iter(f"{_RDF}value"), element)
    return value.text or ""


def _number(word: str) -> Number | None:
    if not re.fullmatch(r"[+-]?\d{1,20}(?:/\d{1,20}|\.\d{1,20})?", word, re.ASCII):
        return None
    try:
        return Fraction(word)
    except ZeroDivisionError:
        return None

"""Read the properties of an XMP packet (ISO 16684-1).

Packets come from strangers: ``defusedxml`` parses them, so that a document type, an entity or a
reference to another file ends the reading. A packet that is not well-formed has no properties.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import msgspec
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring  # pyright: ignore[reportUnknownVariableType]

from handlers.imaging.metadata.tiff_directory import Number
from handlers.imaging.metadata.values import MAX_NAME, MAX_TEXT, tidy

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

_ROOTS = (b"x:xmpmeta", b"rdf:RDF")


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


def read(packet: bytes) -> Properties:
    """Return the properties of the packet; none if it cannot be read."""
    if not packet or len(packet) > MAX_BYTES:
        return Properties()
    try:
        root: Any = fromstring(_root_of(packet), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError):
        return Properties()
    texts: dict[str, tuple[str, ...]] = {}
    for name, items in _properties(root):
        if len(texts) >= MAX_PROPERTIES:
            break
        texts.setdefault(name, items)
    return Properties(texts=texts)


def _root_of(packet: bytes) -> bytes:
    """Return the root element in UTF-8, without padding; empty if there is none.

    What stands before it goes too: a declared encoding could name a codec that is not loaded.
    """
    if packet[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        packet = packet.decode("utf-16", "replace").encode("utf-8", "replace")
    for name in _ROOTS:
        end = b"</" + name + b">"
        first, last = packet.find(b"<" + name), packet.rfind(end)
        if 0 <= first < last:
            return packet[first : last + len(end)]
    return b""


def _properties(root: Element) -> Iterator[tuple[str, tuple[str, ...]]]:
    for description in root.iter(f"{_RDF}Description"):
        for attribute, value in description.attrib.items():
            if name := _name(attribute):
                yield name, (value,)
        for child in description:
            if name := _name(child.tag):
                yield name, _items(child)


def _name(tag: str) -> str | None:
    namespace, _, local = tag[1:].rpartition("}")
    prefix = _NAMESPACES.get(namespace)
    return None if prefix is None else f"{prefix}:{local}"


def _items(element: Element) -> tuple[str, ...]:
    """Return the items of an array, or the text of a simple value."""
    items = [item for container in element for item in container if item.tag == f"{_RDF}li"]
    if not items:
        return (element.text or "",)
    # Sorting keeps the order of the others.
    items.sort(key=lambda item: item.get(_LANGUAGE, "x-default") != "x-default")
    return tuple(item.text or "" for item in items[:MAX_ITEMS])


def _number(word: str) -> Number | None:
    if not re.fullmatch(r"[+-]?\d{1,20}(?:/\d{1,20}|\.\d{1,20})?", word, re.ASCII):
        return None
    try:
        return Fraction(word)
    except ZeroDivisionError:
        return None

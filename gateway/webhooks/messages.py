"""An event as a webhook receives it: a CloudEvent, signed as Standard Webhooks says.

The body is the structured JSON form of CloudEvents 1.0. ``id`` is the event's position, the same at
every attempt and for every webhook; ``source`` names the log by its id. ``type`` and ``data`` are
those of the event everywhere else; its metadata stand in extension attributes.

A signature covers ``<webhook-id>.<webhook-timestamp>.<body>`` with HMAC-SHA-256. There is one for
each secret in force, separated by spaces (Standard Webhooks, "Signature scheme").
"""

import base64
import hmac
import uuid
from collections.abc import Iterable

import msgspec

from domain.photo.events import Metadata

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"

SPEC_VERSION = "1.0"


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event of the log in the structured JSON form of CloudEvents 1.0.

    ``subject`` and ``partitionkey`` name the photo; an event of the system has neither. Events with
    the same ``partitionkey`` are delivered in order. ``dataversion`` is the version of ``data``,
    ``photoversion`` counts the events of the photo, and ``prev`` is the SHA-256 of the one before.
    """

    specversion: str
    id: str
    source: str
    type: str
    time: str
    datacontenttype: str
    data: msgspec.Raw
    subject: str | None = None
    partitionkey: str | None = None
    clientid: str | None = None
    sessionid: str | None = None
    actor: str
    origin: str
    traceid: str
    cause: str | None = None
    dataversion: str
    photoversion: int
    prev: str


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str
    timestamp: str
    data: msgspec.Raw
    metadata: Metadata


_decoder = msgspec.json.Decoder(_Stored)


def source_of(log_id: str) -> str:
    """Return the ``source`` of all events of the log."""
    return uuid.UUID(hex=log_id).urn


def body_of(event: bytes, photo_id: str, source: str) -> bytes:
    """Return the body of a delivery; ``event`` is the event's JSON, as rooms deliver it."""
    stored = _decoder.decode(event)
    metadata = stored.metadata
    return msgspec.json.encode(
        CloudEvent(
            specversion=SPEC_VERSION,
            id=stored.id,
            source=source,
            type=stored.type,
            time=stored.timestamp,
            datacontenttype="application/json",
            data=stored.data,
            subject=photo_id or None,
            partitionkey=photo_id or None,
            clientid=metadata.client_id or None,
            sessionid=metadata.session_id,
            actor=metadata.actor,
            origin=metadata.source,
            traceid=metadata.trace_id,
            cause=metadata.cause,
            dataversion=metadata.version,
            photoversion=metadata.photo_version,
            prev=metadata.prev,
        )
    )


def signed(
    body: bytes, message_id: str, timestamp: int, keys: Iterable[bytes]
) -> list[tuple[str, str]]:
    """Return the headers that sign ``body``, with a signature of each key; seconds since 1970."""
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    signatures = (
        f"v1,{base64.b64encode(hmac.digest(key, content, 'sha256')).decode()}" for key in keys
    )
    return [
        ("webhook-id", message_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", " ".join(signatures)),
    ]

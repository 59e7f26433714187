"""Uploads that continue after an interruption: one state, two protocols.

A client creates an upload, appends to it, asks how far it is, and may delete it. It speaks tus 1.0
or draft-ietf-httpbis-resumable-upload-11 (interop version 8); ``protocol`` reads and writes the
headers of both, and nothing else knows which one it was.

::

    POST ──▶ open ──PATCH──▶ open, more bytes ──last byte──▶ complete ──append──▶ finished
              │                │                                │
              ├─ DELETE ───────┴─▶ deleted                      ├─ another SHA-256 ─▶ rejected
              ├─ time is up ─────▶ expired                      └─ log away ─▶ complete, try again
              └─ no photo, too long ─▶ rejected

| state | on the disk | HEAD | PATCH |
|---|---|---|---|
| open | state and bytes | 200, the offset that is durable | appends at this offset only |
| complete | the same, ``is_complete`` | records the photo, then as finished | the same |
| finished | how it ended, for an hour | 200, all bytes, the photo | 409 |
| deleted, expired, rejected | how it ended, for an hour | 410 | 410 |
| none, or of another client | nothing | 404 | 404 |

- **A photo is recorded once.** The command of an upload has an idempotency key, its own or the
  client's. A crash after the append and before the end of the upload repeats the command, and the
  log answers with the same photo. So does a client that asks again.
- **A request that resumes takes over** from an earlier one (``turns``), and another process of this
  machine answers 423 in the meantime. Bytes of two requests are never mixed.
- **A body with a checksum** counts whole or not at all. Other bytes count as they become durable.
- **What is open is bounded**: by number and by time for each client, by its quota in bytes, and by
  the reserve of the disk.
- **The parts of a concatenation** are uploads of their own, which record no photo. The final upload
  reads them one after another and ends with them.

| file | holds |
|---|---|
| ``protocol`` | the headers of both protocols |
| ``metadata`` | the fields of the photo, as tus sends them |
| ``turns`` | one request at a time for each upload |
| ``reception`` | append a body to an upload |
| ``finishing`` | record the photo of an upload |
| ``uploads`` | create, look at, continue, end and expire uploads |
"""

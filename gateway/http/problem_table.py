"""The table of problems: for each stable ``code`` its status, its title and what to do next.

The codes are part of the public contract. Titles and advice are for people and may change.
"""

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """Describe what all problems of one code have in common."""

    status: int
    title: str
    advice: str


NEW_CREDENTIAL = (
    "Get a new token with `photolog token`, or a new API key with `photolog keys create`."
)

PROBLEMS: dict[str, Kind] = {
    # The request is malformed or invalid.
    "malformed-request": Kind(
        400, "Malformed HTTP request", "Use an HTTP/1.1 library to build the request."
    ),
    "body-incomplete": Kind(
        400,
        "Incomplete request body",
        "Send as many bytes as announced, and keep the connection open until the answer arrives.",
    ),
    "invalid-request": Kind(
        400, "Invalid request", "Check the request against /schema/openapi.json."
    ),
    "invalid-position": Kind(
        400, "Invalid position", "Pass the X-Log-Position of an earlier answer unchanged."
    ),
    "invalid-client": Kind(
        400, "Invalid client id", "Use 1 to 64 letters, digits, dots, underscores, @ or hyphens."
    ),
    "invalid-cursor": Kind(
        400, "Invalid cursor", "Pass the nextCursor of the previous page unchanged."
    ),
    "invalid-limit": Kind(400, "Page too long", "Request fewer items, and follow nextCursor."),
    "invalid-time": Kind(400, "Invalid time", "Write times like 2026-11-23T10:00:00Z."),
    "invalid-session": Kind(400, "Invalid session id", "Use 1 to 128 printable characters."),
    "invalid-room": Kind(
        400, "Unknown room", "Use client, client:ID, session:ID, photo:ID or global."
    ),
    "too-many-rooms": Kind(
        400, "Too many rooms", "Follow fewer rooms on one stream, or open another one."
    ),
    "invalid-priority": Kind(
        400, "Invalid priority", "Use an integer from 1 (first) to 10 (last)."
    ),
    "invalid-last-modified": Kind(
        400, "Invalid lastModified", "Send whole milliseconds since 1970, or leave it out."
    ),
    "unknown-pipeline": Kind(400, "Unknown pipeline", "Use full_processing or quick_processing."),
    "invalid-limit-setting": Kind(
        400, "Invalid processing limit", "Set the rate on a single stage instead of on all stages."
    ),
    "invalid-pause-end": Kind(
        400, "Invalid end of a pause", "Choose a time in the future, or leave it out."
    ),
    "invalid-revocation": Kind(
        400,
        "Invalid revocation",
        "Specify a tokenId alone; or a clientId, a time in the past, or both.",
    ),
    "invalid-webhook": Kind(
        400, "Invalid webhook", "Use an https:// URL and known types of events."
    ),
    "invalid-key": Kind(
        400, "Invalid API key", "Check the name, the client, the scopes and the expiry."
    ),
    "invalid-idempotency-key": Kind(
        400, "Invalid Idempotency-Key", "Use 1 to 200 printable ASCII characters."
    ),
    "invalid-upload-offset": Kind(
        400, "Invalid Upload-Offset", "Send the Upload-Offset of a HEAD request."
    ),
    "invalid-upload-length": Kind(
        400,
        "Invalid Upload-Length",
        "Send the size of the file in bytes, or Upload-Defer-Length: 1.",
    ),
    "inconsistent-upload-length": Kind(
        400,
        "Contradictory lengths of an upload",
        "Announce the size of the file, and send as many bytes.",
    ),
    "invalid-upload-metadata": Kind(
        400, "Invalid Upload-Metadata", "Send pairs of a name and a value in Base64."
    ),
    "invalid-upload-concat": Kind(
        400, "Invalid Upload-Concat", "Send partial, or final; and the addresses of the parts."
    ),
    "invalid-checksum": Kind(
        400, "Invalid Upload-Checksum", "Send sha1 or sha256, and the digest in Base64."
    ),
    "invalid-digest": Kind(400, "Invalid digest", "Write digests as RFC 9530 does."),
    "digest-mismatch": Kind(
        400, "Digest mismatch", "The bytes were altered on their way: send them again."
    ),
    "missing-file": Kind(400, "Missing file", 'Send the photo as the form field "file".'),
    "empty-file": Kind(400, "Empty file", "Check the file, then send it again."),
    "too-many-files": Kind(400, "More than one file", "Send one photo per request."),
    "unknown-field": Kind(
        400,
        "Unknown form field",
        "Use only file, sessionId, pipeline, priority and lastModified.",
    ),
    "too-many-fields": Kind(400, "Too many form fields", "Send each field once."),
    "field-too-large": Kind(
        400, "Form fields too large", "Shorten the fields other than the file."
    ),
    "malformed-multipart": Kind(
        400, "Malformed form", "Use an HTTP library to build the multipart/form-data body."
    ),
    # The sender is unknown, or not allowed to do this.
    "missing-token": Kind(
        401, "Authentication required", "Send a token in the header `Authorization: Bearer`."
    ),
    "invalid-token": Kind(401, "Invalid token", NEW_CREDENTIAL),
    "expired-token": Kind(401, "Expired token", NEW_CREDENTIAL),
    "revoked-token": Kind(401, "Revoked token", "Ask the operator for a new token or API key."),
    "token-not-yet-valid": Kind(
        401,
        "Token not valid yet",
        "Synchronize the clocks of both machines, then get a new token.",
    ),
    "invalid-logout-token": Kind(
        400, "Logout token not trusted", "Send each logout token once, soon after it was issued."
    ),
    "invalid-ticket": Kind(401, "Invalid sign-in link", "Get a new link with `photolog link`."),
    "invalid-stream-ticket": Kind(
        401, "Invalid ticket", "Get a new ticket with POST /api/events/tickets; each works once."
    ),
    "sign-in-expired": Kind(401, "Sign-in expired", "Begin to sign in again."),
    "invalid-identity": Kind(
        401,
        "Provider's answer not trusted",
        "Begin to sign in again; if it fails again, tell the operator of this gateway.",
    ),
    "expired-session": Kind(
        401, "Signed out", "Sign in again: `photolog link` prints a new sign-in link."
    ),
    "forbidden": Kind(403, "Not allowed", "Use a token whose role allows this."),
    "scope-required": Kind(
        403,
        "Missing scope",
        "Use a token or an API key that was created with this scope: `--scope NAME`.",
    ),
    "cross-origin": Kind(
        403, "Request from another site", "Send a bearer token instead of the cookie."
    ),
    "sign-in-refused": Kind(403, "Sign-in refused", "Ask the operator of this gateway for access."),
    "upload-is-final": Kind(
        403,
        "Final upload",
        "Upload another file instead.",
    ),
    # The resource does not exist, or its state does not allow this.
    "not-found": Kind(404, "Address not found", "Look the address up at /docs."),
    "no-provider": Kind(
        404, "No OpenID provider", "Sign in with a token, or set PHOTOLOG_OIDC_ISSUER."
    ),
    "archive-too-large": Kind(413, "Archive too large", "Download the photos in several archives."),
    "photo-not-found": Kind(404, "Photo not found", "Check the id; lists show your photos."),
    "rendition-not-found": Kind(
        404, "Rendition not found", "Request only renditions that the photo itself lists."
    ),
    "job-not-found": Kind(404, "Job not found", "Check the id; a photo names its job."),
    "unknown-stage": Kind(404, "Unknown stage", "List the stages with `photolog queues`."),
    "webhook-not-found": Kind(
        404, "Webhook not found", "List the webhooks with `photolog webhooks`."
    ),
    "key-not-found": Kind(404, "API key not found", "List the keys with `photolog keys`."),
    "session-not-found": Kind(404, "Session not found", "Check the id; a photo names its session."),
    "upload-not-found": Kind(
        404, "Upload not found", "Create the upload again, and send the file from its beginning."
    ),
    "method-not-allowed": Kind(
        405, "Method not allowed", "Use one of the methods in the Allow header."
    ),
    "body-stalled": Kind(408, "Request timed out", "Send the whole body without a pause."),
    "upload-stalled": Kind(408, "Upload timed out", "Send the upload again."),
    "unknown-position": Kind(
        409,
        "Unknown position",
        "Pass the X-Log-Position of an earlier answer, or leave the position out.",
    ),
    "upload-offset-mismatch": Kind(
        409, "Wrong Upload-Offset", "Continue at the Upload-Offset of this answer."
    ),
    "upload-superseded": Kind(
        409, "Upload continued by another request", "Ask for the offset before you continue."
    ),
    "upload-incomplete": Kind(
        409, "Part of an upload incomplete", "Complete all parts, then concatenate them."
    ),
    "photo-exists": Kind(409, "Photo exists", "Upload the photo under a new id."),
    "job-running": Kind(409, "Photo is being processed", "Wait until its job has ended."),
    "job-ended": Kind(409, "The job has ended", "Retry it with another priority instead."),
    "job-failed": Kind(
        409, "The photo's last job failed", "Retry or discard the failed job first."
    ),
    "too-many-revocations": Kind(
        409, "Too many single revocations", "Revoke all tokens issued before a time instead."
    ),
    "nothing-failed": Kind(409, "No failed job", "Reprocess the photo to run its pipeline again."),
    "pipeline-paused": Kind(409, "All stages are paused", "Resume all stages, then pause some."),
    "too-many-quotas": Kind(
        409, "Too many quotas", "Reset the quota of a client that no longer needs its own."
    ),
    "too-many-webhooks": Kind(
        409, "Too many webhooks", "Delete webhooks that are no longer needed."
    ),
    "too-many-keys": Kind(409, "Too many API keys", "Revoke keys that are no longer used."),
    "session-closed": Kind(
        409, "Session closed", "Upload the photo under another sessionId, or without one."
    ),
    "ambiguous-session": Kind(
        409, "Session id used by several clients", "Add the clientId parameter."
    ),
    "photo-deleted": Kind(410, "Photo deleted", "Upload the photo again."),
    "upload-gone": Kind(
        410, "Upload ended", "Create the upload again, and send the file from its beginning."
    ),
    "unsupported-tus-version": Kind(
        412, "Unsupported version of tus", "Send the header Tus-Resumable: 1.0.0."
    ),
    "precondition-failed": Kind(
        412,
        "Precondition failed",
        "Fetch the resource again, and use its current ETag.",
    ),
    # The body or a header is too large, or of a kind that the server does not support.
    "body-too-large": Kind(413, "Request body too large", "Send a smaller body."),
    "upload-too-large": Kind(413, "Photo too large", "Send a smaller file."),
    "not-multipart": Kind(
        415,
        "Not a multipart form",
        "Send `Content-Type: multipart/form-data; boundary=…`, with the photo in `file`, as "
        "`curl -F file=@photo.jpg` does.",
    ),
    "not-upload-bytes": Kind(
        415,
        "Wrong type of an upload's bytes",
        "Send `Content-Type: application/offset+octet-stream` (tus) or `Content-Type: "
        "application/partial-upload`.",
    ),
    "not-json": Kind(
        415, "Not JSON", "Send JSON in UTF-8, with the header `Content-Type: application/json`."
    ),
    "unsupported-encoding": Kind(
        415, "Unsupported content coding", "Send the body without Content-Encoding."
    ),
    "unsupported-type": Kind(
        415, "Unsupported photo format", "Convert the photo to one of these formats."
    ),
    "range-not-satisfiable": Kind(
        416, "Range outside the file", "Request a range within the size in Content-Range."
    ),
    "expectation-failed": Kind(
        417, "Unsupported expectation", "Send `Expect: 100-continue`, or no Expect header."
    ),
    "upgrade-required": Kind(
        426, "WebSocket required", "Send a WebSocket handshake, or use /api/events."
    ),
    "idempotency-key-reused": Kind(
        422, "Idempotency-Key used for another photo", "Use a new key for each new photo."
    ),
    "upload-locked": Kind(423, "Upload in use", "Try again after Retry-After."),
    "checksum-mismatch": Kind(
        460, "Checksum mismatch", "The bytes were altered on their way: send them again."
    ),
    "headers-too-large": Kind(
        431, "Request headers too large", "Send fewer and shorter headers, or a shorter address."
    ),
    # A limit or a quota is used up.
    "quota-jobs": Kind(
        429,
        "Too many jobs at once",
        "Wait for jobs to end, then try again after Retry-After.",
    ),
    "too-many-open-uploads": Kind(
        429, "Too many unfinished uploads", "Finish or delete some, then create this one again."
    ),
    "too-many-open-sessions": Kind(
        429, "Too many open sessions", "Close sessions that take no more uploads, then try again."
    ),
    "quota-uploads": Kind(
        429, "Too many uploads at once", "Finish another upload, then send this one again."
    ),
    "quota-idempotency-keys": Kind(
        429, "Too many idempotency keys", "Try again after Retry-After, or send fewer keys."
    ),
    "too-many-superseded": Kind(
        429,
        "Photo reprocessed too often",
        "Try again after Retry-After: superseded renditions are removed after a while.",
    ),
    "rate-limited": Kind(429, "Rate limit exceeded", "Try again after Retry-After."),
    "too-many-connections-from-address": Kind(
        429,
        "Too many connections from one address",
        "Close connections that you do not need, then try again after Retry-After.",
    ),
    "too-many-connections-of-client": Kind(
        429,
        "Too many connections of one client",
        "End streams or requests that you do not need, then try again after Retry-After.",
    ),
    "quota-photos": Kind(
        507, "Photo quota exceeded", "Delete photos, or ask the operator for more."
    ),
    "quota-bytes": Kind(
        507, "Storage quota exceeded", "Delete photos, or ask the operator for more."
    ),
    # The fault is the server's.
    "internal-error": Kind(500, "Internal error", "Report this to the operator with the traceId."),
    "blob-missing": Kind(
        500, "Stored file missing", "Ask the operator to run `photolog reconcile`."
    ),
    "corrupt": Kind(500, "Stored data damaged", "Ask the operator to run `photolog verify`."),
    "unsupported-transfer-coding": Kind(
        501,
        "Unsupported transfer coding",
        "Send `Transfer-Encoding: chunked`, or a Content-Length.",
    ),
    "busy": Kind(503, "Too many uploads in progress", "Send the upload again after Retry-After."),
    "too-many-connections": Kind(503, "Too many connections", "Try again after Retry-After."),
    "upload-unrecorded": Kind(
        503,
        "Photo not recorded yet",
        "Make room, then ask again after Retry-After; nothing has to be sent again.",
    ),
    "log-unavailable": Kind(
        503,
        "Event log unavailable",
        "Try again after Retry-After; the same Idempotency-Key prevents a duplicate.",
    ),
    "provider-unavailable": Kind(
        503, "OpenID provider unavailable", "Try again after Retry-After, or sign in with a token."
    ),
    "read-model-behind": Kind(
        503,
        "Data not available yet",
        "Try again after Retry-After, or leave out ?after= to read older data.",
    ),
    "storage-unavailable": Kind(
        503, "Photo storage unavailable", "Send the upload again after Retry-After."
    ),
    "unavailable": Kind(503, "Service unavailable", "Try again after Retry-After."),
    "log-full": Kind(
        507,
        "Event log full",
        "Tell the operator. Existing photos stay available and can be deleted.",
    ),
    "storage-full": Kind(507, "Storage full", "Tell the operator. Nothing was stored."),
}

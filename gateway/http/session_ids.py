"""Check the ids of sessions, which clients choose: in uploads, rooms and WebSockets alike."""

from gateway.http.problems import Refused

SESSION_ID_MAX = 128
PATTERN = (
    r"[^\x00-\x1f\x7f-\xa0\xad\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\udfff\ufeff]"
    f"{{1,{SESSION_ID_MAX}}}"
)
"""The rule for documents, whose patterns have no names for the other characters that it excludes:
private and unassigned ones."""

SHOWN = 40
"""The most characters of an invalid id that an answer repeats."""


def checked_session_id(text: str) -> str:
    """Return the session id ``text``.

    Raises:
        Refused: ``invalid-session``; it is empty or only slashes, too long, or has characters that
            nobody sees.
    """
    if 0 < len(text) <= SESSION_ID_MAX and text.isprintable() and text.strip("/"):
        return text
    detail = (
        f"A sessionId has 1 to {SESSION_ID_MAX} printable characters, not only slashes (got "
        f"{text[:SHOWN]!r}, {len(text)} characters)."
    )
    raise Refused("invalid-session", detail)

"""Send interim responses (RFC 9110, section 15.2), for which ASGI has no message."""

from collections.abc import Callable, Mapping
from typing import Any

KEY = "photolog_interim"
"""The key of the scope under which the server leaves a function that writes to the connection."""

Write = Callable[[bytes], None]


def send_interim(scope: Any, status: int, phrase: str, headers: Mapping[str, str]) -> bool:
    """Send an interim response before the answer; return whether the connection can have one.

    A connection of HTTP/1.0 cannot, and other servers leave no function to do so.
    """
    write: Write | None = scope.get(KEY)
    if write is None or scope["http_version"] != "1.1":
        return False
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    return True

"""Small, unique images for tests."""

import io

from PIL import Image


def jpeg(text: str, size: tuple[int, int] = (64, 48)) -> bytes:
    """Return a JPEG of ``size`` pixels with the comment ``text``."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (90, 120, 150)).save(buffer, "JPEG", comment=text.encode())
    return buffer.getvalue()


def broken(text: str) -> bytes:
    """Return bytes that begin like a JPEG but are not one."""
    return b"\xff\xd8\xff\xe0 not a picture: " + text.encode()

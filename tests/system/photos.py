"""Small pictures made for tests, each unlike any other."""

import io

from PIL import Image


def jpeg(text: str, size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG of ``size`` pixels whose comment is ``text``."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (90, 120, 150)).save(buffer, "JPEG", comment=text.encode())
    return buffer.getvalue()


def broken(text: str) -> bytes:
    """What begins like a JPEG and is none."""
    return b"\xff\xd8\xff\xe0 not a picture: " + text.encode()

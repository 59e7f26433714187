"""Find the versions of the C libraries in the wheels of this installation.

``python -m ops.maintenance.bundled`` prints them as JSON. A library has to be loaded to report its
version, so the roles run a short-lived process, and keep the decoders out of their own.
"""

import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec

from ops.event_format import say_json
from ops.maintenance.advisories import Finding, advisories, number, parsed, vulnerable
from ops.process.embedded_valkey import valkey_binary
from store.sqlite.connection import library_version

logger = logging.getLogger("photolog")


def versions() -> dict[str, str]:
    """Return the version of each library found, by its name in ``advisories.toml``."""
    found = {"sqlite": library_version(), **_of_pillow(), **_of_pillow_heif()}
    found["libjpeg-turbo"] = _oldest(found["libjpeg-turbo"], _of_simplejpeg())
    found["libjxl"] = _of_pillow_jxl()
    found["valkey"] = _of_valkey()
    return {name: version for name, version in found.items() if version is not None}


async def known_flaws() -> list[Finding]:
    """Return the known vulnerabilities of this installation's libraries; takes about 0.3 s.

    If the process that loads them fails, the result is empty, and the log says so.
    """
    command = (sys.executable, "-m", "ops.maintenance.bundled")
    try:
        found = await anyio.run_process(command, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        logger.warning("cannot read the versions of the bundled libraries: %s", error)
        return []
    return vulnerable(advisories().library, msgspec.json.decode(found.stdout, type=dict[str, str]))


def _of_pillow() -> dict[str, str | None]:
    from PIL import features  # noqa: PLC0415

    names = {
        "libwebp": "webp",
        "libtiff": "libtiff",
        "libjpeg-turbo": "libjpeg_turbo",
        "libavif": "avif",
        "lcms2": "littlecms2",
    }
    return {
        **{name: features.version(feature) for name, feature in names.items()},
        "dav1d": _of_dav1d(),
    }


def _of_dav1d() -> str | None:
    """Parse the AVIF module's version: ``dav1d [dec]:1.5.3-0-gb546257, aom [enc]:3.14.1``."""
    try:
        from PIL import _avif  # noqa: PLC0415 # pyright: ignore
    except ImportError:
        return None
    codecs: str = _avif.codec_versions()  # pyright: ignore
    for codec in codecs.split(", "):
        name, _, version = codec.partition(":")
        if name.startswith("dav1d"):
            return number(version)
    return None


def _of_pillow_heif() -> dict[str, str | None]:
    try:
        import pillow_heif  # noqa: PLC0415
    except ImportError:
        return {}
    info = cast("dict[str, Any]", pillow_heif.libheif_info())  # pyright: ignore[reportUnknownMemberType]
    # "libde265 HEVC decoder, version 1.1.3"
    text: str | None = info["decoders"].get("libde265")
    decoder = number(text.rpartition(" ")[2]) if text else None
    return {"libheif": info["libheif"], "libde265": decoder}


def _of_simplejpeg() -> str | None:
    """Find the version in the module's text ``libjpeg-turbo version 3.1.2 (build 20251010)``."""
    from simplejpeg import _jpeg  # noqa: PLC0415 # pyright: ignore

    return _named_in(_jpeg.__file__, rb"libjpeg-turbo version ([\d.]+)")  # pyright: ignore


def _of_pillow_jxl() -> str | None:
    """Find the version in the paths that the compiler left, ``jpegxl-rs-0.15.0+libjxl-0.12.0``."""
    try:
        from pillow_jxl import pillow_jxl  # noqa: PLC0415 # pyright: ignore
    except ImportError:
        return None
    return _named_in(pillow_jxl.__file__, rb"[+]libjxl-([\d.]+\d)")  # pyright: ignore


def _named_in(module: str, pattern: bytes) -> str | None:
    """Return the version in a compiled module that does not tell it otherwise."""
    found = re.search(pattern, Path(module).read_bytes())
    return found[1].decode("ascii") if found else None


def _oldest(*versions: str | None) -> str | None:
    known = [version for version in versions if version is not None]
    return min(known, key=parsed, default=None)


def _of_valkey() -> str | None:
    """Parse the bundled server's version: ``Valkey server v=9.1.2 sha=…``."""
    try:
        binary = valkey_binary()
        done = subprocess.run([binary, "--version"], capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return number(done.stdout.partition("v=")[2])


if __name__ == "__main__":
    say_json(msgspec.json.encode(versions()))

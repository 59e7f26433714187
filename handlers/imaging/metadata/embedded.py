"""Gather the metadata of a file, and say how its decoded picture is to be turned."""

import msgspec

from handlers.imaging.metadata import containers, exif, icc, iptc, motion, xmp
from handlers.imaging.metadata.containers import Blocks
from handlers.imaging.metadata.exif import Tags
from handlers.imaging.metadata.iptc import Iptc


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of a file, uninterpreted.

    ``orientation`` is how the file stores the picture, 1 to 8, as TIFF 6.0 numbers it; ``turn`` is
    how the decoded picture still lies, which is 1 where the decoder turns it. ``xmp`` is the
    packet, ``xmp_extended`` what it had no room for. ``profile_name`` is the description of the ICC
    profile, ``bit_depth`` in bits a sample, ``video_bytes`` the size of a motion photo's video.
    """

    tags: Tags = Tags()
    xmp: bytes = b""
    xmp_extended: bytes = b""
    iptc: Iptc = Iptc()
    orientation: int = 1
    turn: int = 1
    profile_name: str | None = None
    bit_depth: int | None = None
    video_bytes: int | None = None


def read(data: bytes, name: str, blocks: Blocks | None = None) -> Embedded:
    """Return the metadata of a file in the format ``name``, as ``sniff`` names it.

    ``blocks`` count instead of those that the file has where a walk finds them. Broken metadata
    count as missing: nothing here raises or decides about the picture.
    """
    blocks = blocks or containers.find(data, name)
    tags = exif.read(blocks.exif, blocks.exif_directory, blocks.gps_directory)
    orientation = _orientation(tags, blocks.orientation, name)
    return Embedded(
        tags=tags,
        xmp=blocks.xmp if len(blocks.xmp) <= xmp.MAX_BYTES else b"",
        xmp_extended=blocks.xmp_extended,
        iptc=iptc.read(blocks.iptc, blocks.iptc_digest),
        orientation=orientation,
        turn=1 if blocks.is_upright else orientation,
        profile_name=icc.name(blocks.icc),
        bit_depth=blocks.bit_depth,
        video_bytes=motion.video_bytes(data, name),
    )


def _orientation(tags: Tags, of_container: int | None, name: str) -> int:
    """Return the orientation that counts.

    In AVIF and JPEG XL the container and the codestream decide alone (MIAF, 7.3.6.7). In HEIF
    EXIF decides where the picture has no transformations, as in files of some phones.
    """
    if name in ("AVIF", "JXL"):
        return of_container or 1
    if name in ("HEIC", "HEIF") and of_container is not None:
        return of_container
    return tags.orientation

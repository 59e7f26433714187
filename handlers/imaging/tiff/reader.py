"""Make a picture of the samples of a TIFF."""

import io
import itertools

import msgspec
from PIL import Image, ImageChops

from handlers.imaging import cost, damage, exif
from handlers.imaging.attempt import Attempt, Decoded
from handlers.imaging.bands import mapped
from handlers.imaging.tiff import directory as directories
from handlers.imaging.tiff import fax, samples
from handlers.imaging.tiff import layout as layouts
from handlers.imaging.tiff.directory import Directory
from handlers.imaging.tiff.layout import Layout

_ORIENTATION, _PROFILE, _SUBFILE, _EXIF, _GPS = 274, 34675, 254, 34665, 34853
_REDUCED = 1
"""NewSubfileType: a smaller version of another picture of the file."""

_ASSUMED = "The file does not say which value is white; {:g} is shown as white."


def read(attempt: Attempt) -> Decoded:
    """Decode the first picture of the file.

    Raises:
        BadImage: ``layout-not-supported``, ``too-many-pixels``, ``too-many-frames``.
        TooCostly: as the attempt decides.
        ValueError: nothing can be decoded.
    """
    directory = directories.first(attempt.data)
    if directory is None:
        raise ValueError("no directory")
    count = _frames(directory, attempt.context.limits.max_frames)
    attempt.check_frames(count)
    return msgspec.structs.replace(decode(attempt, directory), frames=count)


def decode(attempt: Attempt, directory: Directory) -> Decoded:
    """Decode the picture of one directory; raises as ``read``."""
    attempt.pixels = directory.number(layouts.WIDTH) * directory.number(layouts.LENGTH)
    layout = layouts.of(directory)
    attempt.check_size(layout.width, layout.height)
    attempt.admit(cost.of_tiff(layout, attempt.data, attempt.edge))
    whole, flaw = _completed(directory, layout)
    decoded = samples.decode(whole, layout)
    if decoded.damaged or _has_broken_fax(directory, layout):
        flaw = flaw or damage.BROKEN
    if flaw and not any(band.getbbox(alpha_only=False) for band in decoded.bands):
        raise ValueError("nothing was decoded")
    size = (layout.width, layout.height)
    return Decoded(
        image=_picture(decoded.bands, directory, layout),
        size=size,
        box=(0, 0, *size),
        frames=1,
        tags=tags(directory),
        turn=directory.number(_ORIENTATION, 1),
        profile=directory.raw(_PROFILE) or None,
        damage=flaw,
        notice=_ASSUMED.format(decoded.white) if decoded.white else None,
    )


def _frames(directory: Directory, limit: int) -> int:
    """Count the pictures up to the one after the last allowed, without smaller versions."""
    count = 1
    for page in itertools.islice(directories.chain(directory), 1, None):
        count += not page.number(_SUBFILE) & _REDUCED
        if count > limit:
            break
    return count


def _completed(directory: Directory, layout: Layout) -> tuple[Directory, str | None]:
    """Return the directory of a file that is complete, and the damage if it was not.

    libtiff rejects a strip of which a part is missing. Without compression the part is known, and
    is replaced by black.
    """
    end, data = layouts.storage_end(directory), directory.data
    if end <= len(data):
        return directory, None
    most = layout.height * (layout.width * layout.samples * layout.bits // 8 + 1)
    if layout.compression == layouts.NONE and end - len(data) <= most:
        data += bytes(end - len(data))
        return msgspec.structs.replace(directory, data=data), damage.CUT
    return directory, damage.CUT


def _has_broken_fax(directory: Directory, layout: Layout) -> bool:
    two_dimensional = directory.number(layouts.T4_OPTIONS) & 1
    if layout.compression != layouts.GROUP_3 or two_dimensional or layout.tiled:
        return False
    most = directory.number(layouts.ROWS_PER_STRIP, layout.height)
    places = zip(
        directory.numbers(layouts.STRIP_OFFSETS),
        directory.numbers(layouts.STRIP_BYTES),
        range(0, layout.height, max(1, most)),
        strict=False,
    )
    return any(
        fax.is_broken(
            directory.data[start : start + size],
            layout.width,
            min(most, layout.height - top),
            reversed_bits=directory.number(layouts.FILL_ORDER, 1) == 2,
        )
        for start, size, top in places
    )


def _picture(bands: tuple[Image.Image, ...], directory: Directory, layout: Layout) -> Image.Image:
    """Return a picture of mode L, LA, RGB, RGBA, CMYK or LAB."""
    if layout.photometric == layouts.PALETTE:
        return _with_palette(bands[0], directory, layout)
    if layout.photometric in (layouts.CIELAB, layouts.ICCLAB):
        return _lab(bands, layout)
    if bands[0].mode == "LA":
        bands = bands[0].split()
    if layout.photometric == layouts.WHITE_IS_ZERO:
        bands = (ImageChops.invert(bands[0]), *bands[1:])
    if len(bands) == 1 or (layout.colours == 1 and layout.alpha is None):
        return bands[0]
    image = Image.merge(_mode(bands, layout), bands)
    return image.convert(image.mode.upper()) if layout.associated else image


def _mode(bands: tuple[Image.Image, ...], layout: Layout) -> str:
    mode = {2: "LA", 3: "RGB", 4: "CMYK" if layout.alpha is None else "RGBA"}[len(bands)]
    return mode[:-1] + "a" if layout.associated else mode


def _with_palette(image: Image.Image, directory: Directory, layout: Layout) -> Image.Image:
    """Show the colours of the palette: 16 bits a value, but 8 in files of some writers."""
    size = 1 << layout.bits
    values = directory.numbers(layouts.COLOUR_MAP)
    if len(values) < 3 * size:
        raise ValueError("no palette")
    shift = 8 if max(values) > 255 else 0
    if image.mode != "P":
        image = mapped(image, bytes(each * (size - 1) // 255 for each in range(256)))
    columns = zip(*(values[at : at + size] for at in range(0, 3 * size, size)), strict=True)
    image.putpalette(bytes(value >> shift for colour in columns for value in colour))
    return image.convert("RGB")


def _lab(bands: tuple[Image.Image, ...], layout: Layout) -> Image.Image:
    """CIE L*a*b* has signed a* and b* (section 23), ICC L*a*b* adds 128, as Pillow does."""
    light, *colours = bands if len(bands) == 3 else bands[0].split()
    if layout.photometric == layouts.CIELAB:
        table = bytes(value ^ 0x80 for value in range(256))
        colours = [mapped(colour, table) for colour in colours]
    return Image.merge("LAB", (light, *colours))


class _Tagged(Image.Image):
    """A picture without pixels whose tags are those of a directory."""

    def __init__(self, directory: Directory) -> None:
        super().__init__()
        self._directory = directory

    def getexif(self) -> Image.Exif:
        found = Image.Exif()
        found.bigtiff = self._directory.header.big
        found.endian = self._directory.header.order
        found.load_from_fp(io.BytesIO(self._directory.data), self._directory.offset)
        return found


def tags(directory: Directory) -> exif.Tags:
    """Read the tags; Pillow cannot read those of big-endian BigTIFF."""
    if directory.header.order == "<" or not directory.header.big:
        return exif.read(_Tagged(directory))
    further = [directory.at(directory.number(tag)) for tag in (_EXIF, _GPS)]
    main, details, gps = (_values(each) for each in (directory, *further))
    return exif.Tags(main=main, exif=details, gps=gps)


def _values(directory: Directory | None) -> dict[int, object]:
    if directory is None:
        return {}
    return {tag: directory.value(tag) for tag in directory.entries}

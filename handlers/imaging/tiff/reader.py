"""Make a picture of the samples of a TIFF."""

import itertools

import msgspec
from PIL import Image, ImageChops

from handlers.imaging import cost, damage
from handlers.imaging.attempt import Attempt, Decoded
from handlers.imaging.bands import mapped
from handlers.imaging.tiff import directory as directories
from handlers.imaging.tiff import layout as layouts
from handlers.imaging.tiff import samples, strips
from handlers.imaging.tiff.directory import Directory
from handlers.imaging.tiff.layout import Layout

_PROFILE, _SUBFILE = 34675, 254
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
    if decoded.damaged or strips.are_broken(directory, layout):
        flaw = flaw or damage.BROKEN
    if flaw and not any(band.getbbox(alpha_only=False) for band in decoded.bands):
        raise ValueError("nothing was decoded")
    size = (layout.width, layout.height)
    return Decoded(
        image=_picture(decoded.bands, directory, layout),
        size=size,
        box=(0, 0, *size),
        frames=1,
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

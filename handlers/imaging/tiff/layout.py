"""Say what kind of pixels a TIFF directory describes, and refuse by name what is not supported."""

import itertools

import msgspec

from handlers.imaging.tiff.directory import Directory
from handlers.stage import BadImage

(
    WIDTH,
    LENGTH,
    BITS,
    COMPRESSION,
    PHOTOMETRIC,
    FILL_ORDER,
    STRIP_OFFSETS,
    SAMPLES,
    ROWS_PER_STRIP,
    STRIP_BYTES,
    PLANAR,
    T4_OPTIONS,
    T6_OPTIONS,
    PREDICTOR,
    COLOUR_MAP,
    TILE_WIDTH,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_BYTES,
    INK_SET,
    EXTRA_SAMPLES,
    SAMPLE_FORMAT,
    JPEG_TABLES,
    SUBSAMPLING,
) = (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325,
     332, 338, 339, 347, 530)  # fmt: skip

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, CIELAB: 3,
           ICCLAB: 3}  # fmt: skip
"""The supported photometric interpretations, and how many samples hold the colour."""

_PHOTOMETRIC_NAMES = {
    WHITE_IS_ZERO: "grey",
    BLACK_IS_ZERO: "grey",
    RGB: "RGB",
    PALETTE: "palette",
    4: "transparency mask",
    CMYK: "CMYK",
    YCBCR: "YCbCr",
    CIELAB: "CIE L*a*b*",
    ICCLAB: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "colour filter array",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
    51177: "depth map",
    52527: "semantic mask",
}

NONE, MODIFIED_HUFFMAN, GROUP_3, LZW, OLD_JPEG, JPEG, DEFLATE = 1, 2, 3, 5, 6, 7, 8
PACK_BITS, OLD_DEFLATE, LZMA = 32773, 32946, 34925
_SUPPORTED_COMPRESSIONS = {NONE, 2, 3, 4, LZW, OLD_JPEG, JPEG, DEFLATE, 32771, PACK_BITS, 32809,
                           OLD_DEFLATE, LZMA, 50000, 50001}  # fmt: skip
COMPRESSION_NAMES = {
    NONE: "no",
    MODIFIED_HUFFMAN: "CCITT modified Huffman",
    GROUP_3: "CCITT Group 3",
    4: "CCITT Group 4",
    LZW: "LZW",
    OLD_JPEG: "old-style JPEG",
    JPEG: "JPEG",
    DEFLATE: "Deflate",
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT",
    32771: "CCITT modified Huffman",
    PACK_BITS: "PackBits",
    32809: "ThunderScan",
    32895: "IT8",
    32896: "IT8",
    32897: "IT8",
    32898: "IT8",
    32908: "PixarFilm",
    32909: "PixarLog",
    OLD_DEFLATE: "Deflate",
    32947: "DCS",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGILog",
    34677: "SGILog24",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    LZMA: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_BLACK_AND_WHITE = {2, 3, 4, 32771}

UINT, INT, FLOAT = 1, 2, 3
_FORMAT_NAMES = {UINT: "", INT: "signed ", FLOAT: "floating point ", 5: "complex ", 6: "complex "}
_UNTYPED = 4
"""SampleFormat "undefined" is read as unsigned, as libtiff does."""

ASSOCIATED, UNASSOCIATED = 1, 2
_ALPHAS = {ASSOCIATED: ASSOCIATED, UNASSOCIATED: UNASSOCIATED, 999: UNASSOCIATED}
"""Values of ExtraSamples that mean alpha. Corel Draw writes 999."""

_MAX_SAMPLES = 64
_MAX_DEEP_SAMPLES = 4
_GREY_BITS = {UINT: {1, 2, 4, 8, 12, 16, 24, 32, 64}, INT: {32}, FLOAT: {16, 32, 64}}
_COLOUR_BITS = {UINT: {1, 2, 4, 8, 12, 16, 24, 32, 64}, FLOAT: {16, 32, 64}}


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that decide how pixels are stored (sections 8, 10, 13 to 23).

    ``colours`` is the number of samples that hold the colour; ``alpha`` is the index of the sample
    that holds transparency, or None, and ``associated`` says that it is multiplied in.
    """

    width: int
    height: int
    bits: int
    sample_format: int
    samples: int
    colours: int
    alpha: int | None
    associated: bool
    photometric: int
    compression: int
    planar: bool
    predictor: int
    tiled: bool

    @property
    def name(self) -> str:
        """What a user would call this kind of file: ``32-bit floating point RGB TIFF``."""
        kind = _FORMAT_NAMES.get(self.sample_format, "")
        colours = _PHOTOMETRIC_NAMES.get(self.photometric, f"photometric {self.photometric}")
        return f"{self.bits}-bit {kind}{colours} TIFF"

    @property
    def sample_bytes(self) -> int:
        """The bytes that Pillow needs for a decoded sample."""
        return 1 if self.bits <= 8 else 2 if self.bits <= 16 else 4

    @property
    def is_unsigned(self) -> bool:
        return self.sample_format == UINT

    @property
    def is_simple(self) -> bool:
        """Whether the samples of a pixel are decoded at once to eight bits."""
        deep = self.bits == 16 and self.colours > 1 and self.samples <= _MAX_DEEP_SAMPLES
        return self.is_unsigned and not self.planar and (self.bits <= 8 or deep)

    @property
    def compression_name(self) -> str:
        return COMPRESSION_NAMES.get(self.compression, f"an unknown ({self.compression})")


def of(directory: Directory) -> Layout:
    """Return the layout of a directory.

    Raises:
        BadImage: ``layout-not-supported``, with the name of what is not supported.
        ValueError: the directory describes no picture.
    """
    width, height = directory.number(WIDTH), directory.number(LENGTH)
    if width <= 0 or height <= 0:
        raise ValueError("no size")
    compression = directory.number(COMPRESSION, NONE)
    photometric = directory.number(PHOTOMETRIC, WHITE_IS_ZERO)
    if compression == OLD_JPEG:
        photometric = YCBCR  # which libtiff makes of it
    samples = directory.number(SAMPLES, COLOURS[YCBCR] if compression == OLD_JPEG else 1)
    known = min(max(1, samples), _MAX_SAMPLES)
    bits = set(directory.numbers(BITS, known)) or {1}
    formats = set(directory.numbers(SAMPLE_FORMAT, known)) or {UINT}
    sample_format = max(formats) if max(formats) != _UNTYPED else UINT
    colours = COLOURS.get(photometric, 1)
    if compression == OLD_JPEG:
        bits = {8}
    extras = directory.numbers(EXTRA_SAMPLES, known)[: max(0, samples - colours)]
    if photometric == RGB and samples == colours + 1 and not extras:
        extras = (UNASSOCIATED,)  # as most writers without the field mean it
    alphas = [(colours + at, _ALPHAS[kind]) for at, kind in enumerate(extras) if kind in _ALPHAS]
    layout = Layout(
        width=width,
        height=height,
        bits=max(bits),
        sample_format=sample_format,
        samples=samples,
        colours=colours,
        alpha=alphas[0][0] if alphas else None,
        associated=bool(alphas) and alphas[0][1] == ASSOCIATED,
        photometric=photometric,
        compression=compression,
        planar=directory.number(PLANAR, 1) == 2 and samples > 1,
        predictor=directory.number(PREDICTOR, 1),
        tiled=TILE_OFFSETS in directory.entries,
    )
    if len(bits) > 1 or len(formats) > 1:
        raise refused(f"{layout.name} with samples of different kinds")
    if samples < colours or samples > _MAX_SAMPLES:
        raise refused(f"{layout.name} with {samples} samples a pixel")
    _check(layout, directory)
    return layout


def refused(name: str) -> BadImage:
    """Return the refusal of a kind of file that is not supported."""
    message = f"{name} is not supported. Save the picture as TIFF of 8 or 16 bits, PNG or JPEG."
    return BadImage("layout-not-supported", message)


def _check(layout: Layout, directory: Directory) -> None:
    """Raise BadImage, ``layout-not-supported``, unless ``samples`` can decode the layout."""
    name = layout.name
    if layout.photometric not in COLOURS:
        raise refused(name)
    _check_compression(layout)
    if layout.bits not in _possible_bits(layout):
        raise refused(name)
    if layout.photometric == CMYK and directory.number(INK_SET, 1) != 1:
        raise refused("TIFF with other inks than CMYK")
    if layout.alpha is not None and layout.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB):
        raise refused(f"{name} with transparency")
    if layout.associated and layout.photometric == WHITE_IS_ZERO:
        raise refused(f"{name} with white as zero and transparency that is multiplied in")
    if layout.photometric == YCBCR and layout.planar:
        subsampling = directory.numbers(SUBSAMPLING) or (2, 2)
        if any(factor != 1 for factor in subsampling):
            raise refused(f"{name} with subsampled colours in separate planes")


def _check_compression(layout: Layout) -> None:
    supported = layout.compression in _SUPPORTED_COMPRESSIONS
    if layout.compression == JPEG:
        supported = layout.bits == 8
    elif layout.compression in _BLACK_AND_WHITE:
        supported = (layout.bits, layout.samples) == (1, 1)
    if not supported:
        raise refused(f"{layout.name} with {layout.compression_name} compression")
    # Some writers apply it, and libtiff does not undo it.
    if layout.compression == PACK_BITS and layout.predictor > 1:
        raise refused(f"{layout.name} with PackBits compression and a predictor")


def _possible_bits(layout: Layout) -> set[int]:
    possible = _COLOUR_BITS
    if layout.photometric == PALETTE:
        possible = {UINT: {1, 2, 4, 8}}
    elif layout.photometric == YCBCR:
        possible = {UINT: {8}}
    elif layout.photometric in (CIELAB, ICCLAB):
        possible = {UINT: {8, 16}}
    elif layout.colours == 1 and layout.alpha is None:
        possible = _GREY_BITS
    return possible.get(layout.sample_format, set())


def storage_end(directory: Directory) -> int:
    """Return where the last strip or tile ends, if the file says so; 0 otherwise."""
    offsets = directory.numbers(TILE_OFFSETS) or directory.numbers(STRIP_OFFSETS)
    sizes = directory.numbers(TILE_BYTES) or directory.numbers(STRIP_BYTES)
    return max(itertools.starmap(int.__add__, zip(offsets, sizes, strict=False)), default=0)

"""The colours of pictures whose file describes them without an ICC profile, and with odd ones."""

import io
import struct
import zlib

import pytest
from PIL import Image, ImageCms

from handlers.imaging.picture import Picture, load
from tests.conftest import PHOTOS
from tests.handlers import colorimetry
from tests.handlers.colorimetry import PRIMARIES, TRANSFERS, Triple, chart, cicp, gama
from tests.handlers.pictures import adobe_rgb_profile, encoded

CASES = PHOTOS.parent / "cases" / "pictures"

NAMES = {(1, 13): "sRGB", (12, 13): "Display P3", (9, 14): "BT.2020", (1, 1): "BT.709"}

COLOUR_SPACE = 0xA001
INTEROPERABILITY = 0xA005


def signals_of(primaries: int, transfer: int) -> list[Triple]:
    """Return the chart as signals of a space."""
    encode = TRANSFERS[transfer]
    found: list[Triple] = []
    for colour in chart():
        red, green, blue = colorimetry.converted(colour, PRIMARIES[primaries])
        found.append((encode(red), encode(green), encode(blue)))
    return found


def grey(value: float) -> Triple:
    return value, value, value


def assert_chart(picture: Picture, mean: float = 0.5, worst: float = 2.0) -> None:
    """Assert that the picture shows the chart's colours."""
    found_worst, found_mean = colorimetry.worst_and_mean(picture.image, chart())
    assert found_mean < mean
    assert found_worst < worst
    assert picture.warning is None


@pytest.mark.parametrize("primaries", sorted(PRIMARIES))
def test_a_png_is_shown_by_the_primaries_of_its_code_points(primaries: int) -> None:
    data = colorimetry.png(signals_of(primaries, 13), 8, cicp(primaries, 13))

    assert_chart(load(data))


@pytest.mark.parametrize("transfer", sorted(TRANSFERS))
def test_a_png_is_shown_by_the_transfer_function_of_its_code_points(transfer: int) -> None:
    data = colorimetry.png(signals_of(1, transfer), 16, cicp(1, transfer))

    # A logarithm has no black: its least light is a hundredth or less of white.
    dark = transfer in (9, 10)
    assert_chart(load(data), mean=0.6 if dark else 0.5, worst=9 if dark else 2)


@pytest.mark.parametrize(("points", "name"), NAMES.items())
def test_the_colour_space_has_its_usual_name(points: tuple[int, int], name: str) -> None:
    data = colorimetry.png(signals_of(*points), 8, cicp(*points))

    assert load(data).colour_space == name


@pytest.mark.parametrize(("primaries", "transfer"), [(2, 2), (0, 0), (3, 19), (99, 255)])
def test_unspecified_and_unknown_code_points_count_as_srgb(primaries: int, transfer: int) -> None:
    data = colorimetry.png(chart(), 8, cicp(primaries, transfer))

    assert_chart(load(data))


def test_samples_of_narrow_range_are_widened() -> None:
    narrow: list[Triple] = []
    for red, green, blue in signals_of(12, 13):
        low, high = 16 / 255, 219 / 255
        narrow.append((low + high * red, low + high * green, low + high * blue))

    assert_chart(load(colorimetry.png(narrow, 8, cicp(12, 13, full_range=False))))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 0.45455, 0.35])
def test_the_gamma_of_a_png_is_undone(depth: int, gamma: float) -> None:
    signals: list[Triple] = []
    for colour in chart():
        red, green, blue = (colorimetry.srgb_light(value) ** gamma for value in colour)
        signals.append((red, green, blue))

    picture = load(colorimetry.png(signals, depth, gama(gamma)))

    # Eight bits of linear light are too few for dark colours, whoever shows them.
    assert_chart(picture, mean=1.0 if gamma == 1 and depth == 8 else 0.5, worst=3)


def test_a_linear_png_of_gamma_1_shows_128_as_188() -> None:
    data = colorimetry.png([grey(128 / 255)] * 2, 8, gama(1.0))

    assert load(data).image.getpixel((8, 4)) == (188, 188, 188)


def test_the_chromaticities_of_a_png_count_with_its_gamma() -> None:
    data = colorimetry.png(signals_of(9, 4), 8, gama(1 / 2.2), colorimetry.chrm(PRIMARIES[9]))

    assert_chart(load(data))


@pytest.mark.parametrize(
    "mark",
    [
        gama(0),
        (b"gAMA", b"\xff\xff\xff\xff"),
        (b"gAMA", b"\0"),
        (b"cHRM", bytes(32)),
        (b"cHRM", struct.pack(">8I", *[33_000] * 8)),
        (b"cHRM", struct.pack(">8I", 31_270, 0, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)),
        (b"cICP", b"\x09\x10"),
        (b"cICP", b"\x09\x10\x09\x01"),
        (b"cICP", b"\x09\x10\x00\x07"),
    ],
    ids=lambda mark: f"{mark[0].decode()} {mark[1][:8].hex()}",
)
def test_an_invalid_mark_of_a_png_is_ignored(mark: tuple[bytes, bytes]) -> None:
    assert_chart(load(colorimetry.png(chart(), 8, mark)))


def test_code_points_of_a_png_count_before_its_profile() -> None:
    marks = (cicp(12, 13), colorimetry.iccp(adobe_rgb_profile()), gama(1.0))

    assert_chart(load(colorimetry.png(signals_of(12, 13), 8, *marks)))


@pytest.mark.parametrize("points", [(2, 2), (99, 13), (1, 2), (12, 255)])
def test_code_points_of_a_png_that_name_no_space_leave_it_its_other_marks(
    points: tuple[int, int],
) -> None:
    profile = (cicp(*points), colorimetry.iccp(adobe_rgb_profile()))
    gamma = (cicp(*points), gama(1 / 2.2), colorimetry.chrm(PRIMARIES[9]))

    assert_chart(load(colorimetry.png(adobe_rgb_signals(), 8, *profile)))
    assert_chart(load(colorimetry.png(signals_of(9, 4), 8, *gamma)))


def test_the_profile_of_a_png_counts_before_srgb_and_gamma() -> None:
    marks = (colorimetry.iccp(adobe_rgb_profile()), (b"sRGB", b"\0"), gama(1.0))

    assert_chart(load(colorimetry.png(adobe_rgb_signals(), 8, *marks)))


def test_srgb_of_a_png_counts_before_its_gamma() -> None:
    assert_chart(load(colorimetry.png(chart(), 8, (b"sRGB", b"\0"), gama(1.0))))


def test_an_unusable_profile_leaves_a_png_its_other_marks() -> None:
    marks = (colorimetry.iccp(b"no profile" * 20), gama(1 / 2.2), colorimetry.chrm(PRIMARIES[9]))

    picture = load(colorimetry.png(signals_of(9, 4), 8, *marks))

    assert colorimetry.worst_and_mean(picture.image, chart())[1] < 0.5
    assert picture.warning is not None
    assert "profile" in picture.warning


def test_a_profile_of_megabytes_is_used() -> None:
    profile = adobe_rgb_profile() + bytes(1_500_000)
    profile = struct.pack(">I", len(profile)) + profile[4:]

    picture = load(colorimetry.png(adobe_rgb_signals(), 8, colorimetry.iccp(profile)))

    assert_chart(picture)
    assert picture.colour_space == "Wide"  # its description


@pytest.mark.parametrize("body", [b"p\0\0" + b"no zlib", b"p\0\0" + zlib.compress(bytes(1 << 25))])
def test_a_profile_that_cannot_be_decompressed_is_a_warning(body: bytes) -> None:
    picture = load(colorimetry.png(chart(), 8, (b"iCCP", body)))

    assert picture.warning is not None
    assert "profile" in picture.warning
    assert not picture.damaged
    assert colorimetry.worst_and_mean(picture.image, chart())[0] < 0.5


def test_a_png_of_16_bits_without_marks_is_shown_as_it_is() -> None:
    assert_chart(load(colorimetry.png(chart(), 16)))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("primaries", [9, 12])
def test_pq_whose_white_is_203_nits_looks_like_sdr(depth: int, primaries: int) -> None:
    light = [colorimetry.converted(colour, PRIMARIES[primaries]) for colour in chart()]
    data = colorimetry.png(
        [colorimetry.pq_signals(each) for each in light], depth, cicp(primaries, 16)
    )

    assert_chart(load(data), mean=0.5 if depth == 16 else 1.0, worst=2.5)


@pytest.mark.parametrize("depth", [8, 16])
def test_hlg_whose_white_is_203_nits_looks_like_sdr(depth: int) -> None:
    light = [colorimetry.converted(colour, PRIMARIES[9]) for colour in chart()]
    data = colorimetry.png([colorimetry.hlg_signals(each) for each in light], depth, cicp(9, 18))

    assert_chart(load(data), mean=0.5 if depth == 16 else 1.0, worst=2.5)


@pytest.mark.parametrize("transfer", [16, 18])
def test_what_is_brighter_than_white_keeps_its_order(transfer: int) -> None:
    encode = {16: colorimetry.pq_signals, 18: colorimetry.hlg_signals}[transfer]
    greys = [encode(grey(nits / 203)) for nits in (1, 50, 100, 203, 400, 990)]
    oranges = [encode((nits / 203, nits / 406, nits / 812)) for nits in (100, 900)]

    picture = load(colorimetry.png(greys + oranges, 16, cicp(9, transfer)))

    pixels = [picture.image.getpixel((8 * number + 4, 4)) for number in range(8)]
    shown = [pixel for pixel in pixels if isinstance(pixel, tuple)]
    assert all(max(pixel) - min(pixel) <= 1 for pixel in shown[:6])
    levels = [pixel[0] for pixel in shown[:6]]
    assert levels == sorted(set(levels))
    assert levels[3] > 200
    assert levels[5] >= 254
    assert all(red > green > blue for red, green, blue in shown[6:])
    assert picture.colour_space == {16: "BT.2020 PQ", 18: "BT.2020 HLG"}[transfer]


def test_a_picture_of_deep_samples_keeps_its_alpha() -> None:
    width, height = 16, 8
    pixel = struct.pack(">4H", *[38_056] * 3, 0x8080)  # white at 203 cd/m²
    rows = (b"\0" + pixel * width) * height
    head = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    chunks = [(b"IHDR", head), cicp(9, 16), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )

    assert load(data).image.getpixel((4, 4)) == (255, 255, 255, 128)


def adobe_rgb_signals() -> list[Triple]:
    signals: list[Triple] = []
    for colour in chart():
        light = colorimetry.converted(colour, colorimetry.ADOBE_RGB)
        red, green, blue = (value ** (256 / 563) for value in light)
        signals.append((red, green, blue))
    return signals


def exif_file(format_: str, colour_space: int, interoperability: str | None) -> bytes:
    """Encode the chart in Adobe RGB with these tags of EXIF."""
    image = colorimetry.patches(adobe_rgb_signals())
    tags: dict[int, object] = {COLOUR_SPACE: colour_space}
    if interoperability is not None:
        tags[INTEROPERABILITY] = {1: interoperability}
    exif = Image.Exif()
    exif.get_ifd(0x8769).update(tags)
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "TIFF": {}}
    return encoded(image, format_, exif=exif.tobytes(), **options[format_])


@pytest.mark.parametrize("format_", ["JPEG", "WEBP"])
@pytest.mark.parametrize(("colour_space", "index"), [(65_535, "R03"), (2, None)])
def test_exif_declares_adobe_rgb(format_: str, colour_space: int, index: str | None) -> None:
    picture = load(exif_file(format_, colour_space, index))

    assert_chart(picture, mean=1.0, worst=3)
    assert picture.colour_space == "Adobe RGB"


@pytest.mark.parametrize(
    ("colour_space", "index"), [(1, "R03"), (65_535, "R98"), (65_535, None), (1, None)]
)
def test_anything_else_in_exif_is_srgb(colour_space: int, index: str | None) -> None:
    picture = load(exif_file("JPEG", colour_space, index))

    assert picture.colour_space == "sRGB"
    worst, _ = colorimetry.worst_and_mean(picture.image, adobe_rgb_signals())
    assert worst < 3


def test_a_profile_counts_before_exif() -> None:
    image = colorimetry.patches(chart())
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({COLOUR_SPACE: 65_535, INTEROPERABILITY: {1: "R03"}})

    picture = load(
        encoded(image, "JPEG", quality=100, subsampling=0, exif=exif.tobytes(), icc_profile=profile)
    )

    assert_chart(picture, mean=1.0, worst=3)


def with_nclx(data: bytes, primaries: int, transfer: int) -> bytes:
    """Change the code points of an AVIF or HEIC file, wherever they are."""
    at = data.index(b"colrnclx")
    while at >= 0:
        data = data[: at + 8] + struct.pack(">HH", primaries, transfer) + data[at + 12 :]
        at = data.find(b"colrnclx", at + 1)
    return data


def avif(signals: list[Triple], primaries: int, transfer: int, **options: object) -> bytes:
    image = colorimetry.patches(signals)
    data = encoded(image, "AVIF", quality=100, subsampling="4:4:4", **options)
    return with_nclx(data, primaries, transfer)


@pytest.mark.parametrize(
    ("primaries", "transfer"), [(12, 13), (9, 14), (9, 1), (1, 8), (5, 5), (11, 17), (22, 7)]
)
def test_an_avif_is_shown_by_its_code_points(primaries: int, transfer: int) -> None:
    picture = load(avif(signals_of(primaries, transfer), primaries, transfer))

    assert_chart(picture, mean=1.0, worst=5 if transfer == 8 else 3)


def test_an_avif_of_pq_or_hlg_is_shown_on_sdr() -> None:
    light = [colorimetry.converted(colour, PRIMARIES[9]) for colour in chart()]

    pq = load(avif([colorimetry.pq_signals(each) for each in light], 9, 16))
    hlg = load(avif([colorimetry.hlg_signals(each) for each in light], 9, 18))

    # The encoder's eight bits of YCbCr are off by one level, which PQ makes visible.
    assert_chart(pq, mean=1.5, worst=4)
    assert_chart(hlg, mean=1.0, worst=4)


def test_the_profile_of_an_avif_counts_before_its_code_points() -> None:
    data = avif(adobe_rgb_signals(), 9, 16, icc_profile=adobe_rgb_profile())

    assert_chart(load(data), mean=1.0, worst=3)


def test_the_frames_of_an_avif_sequence_have_its_code_points() -> None:
    frame = colorimetry.patches(signals_of(12, 13))
    other = Image.new("RGB", frame.size, (10, 20, 30))
    data = encoded(
        frame, "AVIF", save_all=True, append_images=[other], quality=100, subsampling="4:4:4"
    )

    picture = load(with_nclx(data, 12, 13))

    assert picture.frames == 2
    assert_chart(picture, mean=1.0, worst=3)


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("transfer", [16, 18])
def test_a_heic_of_more_than_eight_bits_is_tone_mapped_with_all_of_them(
    bits: int, transfer: int
) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    encode = {16: colorimetry.pq_signals, 18: colorimetry.hlg_signals}[transfer]
    light = [colorimetry.converted(colour, PRIMARIES[9]) for colour in chart()]
    row = b"".join(
        struct.pack("<3H", *(round(65_535 * value) for value in encode(each))) * 8 for each in light
    )
    file = pillow_heif.from_bytes(mode="RGB;16", size=(8 * len(light), 8), data=row * 8)
    file.info["bit_depth"] = bits
    buffer = io.BytesIO()
    file.save(
        buffer,
        quality=-1,
        color_primaries=9,
        transfer_characteristics=transfer,
        matrix_coefficients=9,
        full_range_flag=1,
        chroma=444,
    )

    assert_chart(load(buffer.getvalue()), mean=0.7, worst=3)


@pytest.mark.parametrize(
    "name",
    [
        "adobe-rgb-r03.jpg",
        "png-cicp-p3.png",
        "avif-nclx-p3.avif",
        "heic-nclx-pq.heic",
        "png-gama-linear.png",
    ],
)
def test_every_way_to_describe_colours_gives_the_same_picture(name: str) -> None:
    if not CASES.is_dir():
        pytest.skip(f"no test pictures at {CASES}")

    picture = load((CASES / name).read_bytes())

    with Image.open(CASES / "reference-srgb.png") as reference:
        assert colorimetry.mean_difference(picture.image, reference) < 1.0
    assert not picture.damaged
    assert picture.warning is None

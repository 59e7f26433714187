"""Draw the icons of the installed page: ``python -m ops.maintenance.page_icons``.

They show what ``favicon.svg`` shows, at the sizes that home screens ask for. A maskable icon may be
cut to any shape, so its drawing keeps to the middle.
"""

from PIL import Image, ImageDraw

from gateway.web.pages import FOLDER

SIZES = {"icon-180.png": 180, "icon-192.png": 192, "icon-512.png": 512}
SUPERSAMPLING = 4

PAPER, FRAME, SKY, SUN, HILL, NEAR = (
    "#1f5f5b",
    "#f8f7f4",
    "#9bd6d0",
    "#f2c14e",
    "#2f7d76",
    "#174a47",
)


def icon(size: int) -> Image.Image:
    """Return the icon, ``size`` pixels square, without transparency."""
    large = size * SUPERSAMPLING
    image = Image.new("RGB", (large, large), PAPER)
    draw = ImageDraw.Draw(image)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * large, y * large) for x, y in points]

    draw.rounded_rectangle(at((0.2, 0.24), (0.8, 0.76)), radius=large * 0.05, fill=FRAME)
    draw.rectangle(at((0.24, 0.28), (0.76, 0.72)), fill=SKY)
    draw.ellipse(at((0.58, 0.33), (0.68, 0.43)), fill=SUN)
    draw.polygon(at((0.24, 0.6), (0.4, 0.42), (0.58, 0.62), (0.58, 0.72), (0.24, 0.72)), fill=HILL)
    draw.polygon(at((0.4, 0.72), (0.6, 0.52), (0.76, 0.66), (0.76, 0.72)), fill=NEAR)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def main() -> None:
    for name, size in SIZES.items():
        icon(size).save(FOLDER / name, "PNG", optimize=True)


if __name__ == "__main__":
    main()

"""Raw Pillow: the decodes and encodes that Photolog does, with nothing around them.

Run as ``python -m ops.bench.raw FILE…``: prints the photos per second of this one process.
"""

import io
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import blurhash  # pyright: ignore[reportMissingTypeStubs]
from PIL import Image, ImageOps

from handlers.placeholder import SOURCE_EDGE
from handlers.stage import Recipe
from handlers.thumbnails import SIZES

RECIPE = Recipe()


def photos_per_second(files: Sequence[Path], processes: int) -> float:
    """``processes`` at once, the files dealt out among them; the time is that of the slowest."""
    began = [
        subprocess.Popen(
            [sys.executable, "-m", "ops.bench.raw", *(str(each) for each in files[n::processes])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for n in range(processes)
    ]
    for process in began:  # all have started up and wait for the word
        if process.stdout is not None:
            process.stdout.readline()
    start = time.perf_counter()
    for process in began:
        process.communicate(b"go\n")
    return len(files) / (time.perf_counter() - start)


def main() -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    for name in sys.argv[1:]:
        _process(Path(name))


def _process(path: Path) -> None:
    with Image.open(path) as image:
        edge = RECIPE.longest_edge
        image.draft(None, _fitted(image.size, edge))
        image.load()
        ratio = max(image.size) / edge
        filter_ = Image.Resampling.HAMMING if ratio >= 1.5 else Image.Resampling.LANCZOS
        picture = _resized(image, edge, filter_)
        picture = ImageOps.exif_transpose(picture)
    thumbnail = _encode(picture)
    for size in reversed(SIZES):
        picture = _resized(picture, size, Image.Resampling.LANCZOS)
        thumbnail = _encode(picture)
    with Image.open(io.BytesIO(thumbnail)) as small:
        blurhash.encode(  # pyright: ignore[reportUnknownMemberType]
            _resized(small, SOURCE_EDGE, Image.Resampling.LANCZOS), 4, 3
        )


def _fitted(size: tuple[int, int], edge: int) -> tuple[int, int]:
    longest = max(size)
    if longest <= edge:
        return size
    return max(1, round(size[0] * edge / longest)), max(1, round(size[1] * edge / longest))


def _resized(image: Image.Image, edge: int, filter_: Image.Resampling) -> Image.Image:
    return image.resize(  # pyright: ignore[reportUnknownMemberType]
        _fitted(image.size, edge), filter_, reducing_gap=1.5
    )


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=RECIPE.quality, method=RECIPE.method, exif=b"")
    return buffer.getvalue()


if __name__ == "__main__":
    main()

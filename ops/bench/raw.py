"""Measure raw Pillow: the same decodes and encodes as in Photolog, and nothing else.

``python -m ops.bench.raw`` prints ``ready``, then ``done`` for each file named on its input.
"""

import io
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, cast

import blurhash  # pyright: ignore[reportMissingTypeStubs]
from PIL import Image, ImageOps

from handlers.decoder.process import environment
from handlers.stage import Recipe
from handlers.stages.placeholder import SOURCE_EDGE, rows
from handlers.stages.thumbnails import SIZES

RECIPE = Recipe()


def photos_per_second(files: Sequence[Path], processes: int) -> float:
    """Return the photos per second of ``processes``, each of which takes the next file when free.

    They run in the environment of Photolog's decoders, whose allocator settings save a tenth.
    """
    started = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "ops.bench.raw"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment(),
        )
        for _ in range(processes)
    ]
    for process in started:  # wait until each has imported its modules
        cast("IO[str]", process.stdout).readline()
    waiting = deque(files)
    with ThreadPoolExecutor(processes) as threads:
        start = time.perf_counter()
        for work in [threads.submit(_feed, process, waiting) for process in started]:
            work.result()
        took_s = time.perf_counter() - start
    for process in started:
        process.communicate()
    return len(files) / took_s


def _feed(process: "subprocess.Popen[str]", waiting: deque[Path]) -> None:
    requests, answers = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    while waiting:
        requests.write(f"{waiting.popleft()}\n")
        if answers.readline() != "done\n":
            raise RuntimeError("a process of the raw measurement ended")


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        _process(Path(line.rstrip("\n")))
        print("done", flush=True)


def _process(path: Path) -> None:
    with Image.open(path) as image:
        edge = RECIPE.longest_edge
        image.draft(None, _fitted(image.size, edge))
        image.load()
        ratio = max(image.size) / edge
        filter_ = Image.Resampling.HAMMING if ratio >= 1.5 else Image.Resampling.BICUBIC
        picture = _resized(image, edge, filter_)
        picture = ImageOps.exif_transpose(picture)
    thumbnail = _encode(picture)
    for size in reversed(SIZES):
        picture = _resized(picture, size, Image.Resampling.LANCZOS)
        thumbnail = _encode(picture)
    with Image.open(io.BytesIO(thumbnail)) as small:
        tiny = _resized(small, SOURCE_EDGE, Image.Resampling.LANCZOS)
    blurhash.encode(rows(tiny), 4, 3)  # pyright: ignore[reportUnknownMemberType]


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

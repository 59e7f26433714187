"""Measure what a recipe costs and what it gives: CPU time, bytes, and similarity to the photo."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from handlers.imaging.picture import Picture, load
from handlers.stage import Output, Recipe, StageContext
from handlers.stages import optimization, thumbnails
from ops.bench import report
from ops.bench.similarity import ssim_of

DEFAULT = Recipe()
RECIPES = (
    *(Recipe(method=method) for method in (0, 1, 2, 3, 4, 6)),
    *(Recipe(quality=DEFAULT.quality + step) for step in (-5, -2, 2, 5)),
)
WHOLE = StageContext(recipe=Recipe(longest_edge=1 << 16))
"""Gives the photo at its full size."""

Run = Callable[[Picture, StageContext], Output]

LARGE, SMALL = "optimized", "thumbnails"


def run(rounds: int, folder: Path) -> None:
    """Print a table of recipes: decoding is the same for all and measured once."""
    report.headline("Recipes: the CPU time, size and similarity of renditions")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if not files:
        raise SystemExit(f"no photos in {folder}: name a folder with --photos")
    report.note(f"{len(files)} photos of {folder.name}/; a row is the mean of a photo")
    report.note("SSIM of brightness, to the whole photo reduced with Lanczos")
    contents = [path.read_bytes() for path in files]
    decode_s = [_decode_s(contents) / len(files) for _ in report.rounds(rounds)]
    report.line("decoding, colours, reducing to 1920 px", [1000 * s for s in decode_s], "ms")
    report.note(
        f"{'recipe':<20}{'optimized':>12}{'kB':>8}{'SSIM':>8}"
        f"{'thumbnails':>14}{'kB':>8}{'SSIM':>8}{'one core':>18}"
    )
    for recipe in RECIPES:
        _measure(recipe, contents, statistics.median(decode_s), rounds)


def _decode_s(contents: list[bytes]) -> float:
    began = time.process_time()
    for data in contents:
        load(data)
    return time.process_time() - began


def _measure(recipe: Recipe, contents: list[bytes], decode_s: float, rounds: int) -> None:
    context = StageContext(recipe=recipe)
    spent_s: dict[str, float] = defaultdict(float)
    size_bytes: dict[str, int] = defaultdict(int)
    similar: dict[str, list[float]] = defaultdict(list)
    for data in contents:
        picture = load(data, context)
        whole = load(data, WHOLE).image
        for kind, stage in ((LARGE, optimization.run), (SMALL, thumbnails.run)):
            took_s, output = _timed(stage, picture, context, rounds)
            spent_s[kind] += took_s
            size_bytes[kind] += sum(len(each.data) for each in output.renditions)
            similar[kind] += [ssim_of(whole, each.data) for each in output.renditions]
    photos = len(contents)
    cells = "".join(
        f"{1000 * spent_s[kind] / photos:>{width}.1f} ms{size_bytes[kind] / photos / 1000:>8.1f}"
        f"{statistics.mean(similar[kind]):>8.4f}"
        for kind, width in ((LARGE, 9), (SMALL, 11))
    )
    rate = 1 / (decode_s + sum(spent_s.values()) / photos)
    name = recipe.name + (" *" if recipe == DEFAULT else "")
    report.note(f"{name:<20}{cells}{rate:>9.2f} photos/s")


def _timed(
    stage: Run, picture: Picture, context: StageContext, rounds: int
) -> tuple[float, Output]:
    """Run the stage ``rounds`` times; return the median of the CPU times, in seconds."""

    def once() -> tuple[float, Output]:
        began = time.process_time()
        output = stage(picture, context)
        return time.process_time() - began, output

    runs = [once() for _ in range(rounds)]
    return statistics.median(spent_s for spent_s, _ in runs), runs[0][1]

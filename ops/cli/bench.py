"""``photolog bench``"""

import os
from pathlib import Path
from typing import Any

import click

from ops.bench import report

MEASUREMENTS = (
    "pipeline",
    "recipe",
    "latency",
    "upload",
    "transfers",
    "appends",
    "orchestration",
    "urgent",
    "places",
    "replicas",
    "failover",
    "watchers",
    "fanout",
    "crowd",
    "page",
    "rebuild",
    "archive",
    "capacity",
)
PHOTOS = Path("../shared/photos/camera")

PAGE_ROUNDS = 3
"""A visit of the page takes minutes; its figures vary little."""


class _Photos(click.ParamType[Path | int]):
    """A folder of photos, or how many photos a log has."""

    name = "FOLDER|NUMBER"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | int:
        if isinstance(value, Path | int):
            return value
        if str(value).isdecimal():
            return int(value)
        path = Path(str(value))
        if not path.is_dir():
            self.fail(f"{path} is neither a folder nor a number.", param, ctx)
        return path


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(MEASUREMENTS))
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    help="How often each of the compared sides runs, in turn.",
)
@click.option(
    "--photos",
    "given",
    type=_Photos(),
    multiple=True,
    metavar="FOLDER|NUMBER",
    help="A folder with real photos for `pipeline`, `recipe`, `rebuild`, `archive` and `capacity`, "
    "or how many photos the log of the last three has (20000, 10000, 20000). May be given twice.",
)
@click.option(
    "--minutes",
    default=1.0,
    show_default=True,
    help="How long the clients of `crowd` stay connected.",
)
def command(
    names: tuple[str, ...], rounds: int, given: tuple[Path | int, ...], minutes: float
) -> None:
    """Measure how fast Photolog is, next to the limits of what it runs on.

    Each measurement starts its own Photolog in a temporary folder. Without a name, all of them run.

    Three of them start clusters on this machine: `replicas` appends with and without waiting for a
    replica's disk, `failover` measures how long uploads take after a master has died, and
    `watchers` counts the events that SSE streams receive, with and without waiting.

    `capacity` computes what libraries of a million photos and more need from what it measures of
    one, and checks that by a run.

    `page` fills the read model with a million photos. It drives Chromium with Playwright.
    """
    report.preamble(os.cpu_count() or 1)
    folders = [each for each in given if isinstance(each, Path)]
    counts = [each for each in given if isinstance(each, int)]
    photos = folders[-1] if folders else PHOTOS if PHOTOS.is_dir() else None
    for name in names or MEASUREMENTS:
        if name in ("rebuild", "archive"):
            _run_on_a_log(name, rounds, photos, counts)
        elif name == "capacity":
            _run_capacity(photos, counts)
        else:
            _run(name, rounds, photos, minutes)


def _run_on_a_log(name: str, rounds: int, photos: Path | None, counts: list[int]) -> None:
    from ops.bench import archive, rebuild  # noqa: PLC0415

    measurement = rebuild if name == "rebuild" else archive
    measurement.run(rounds, counts[-1] if counts else measurement.PHOTOS, photos)


def _run_capacity(photos: Path | None, counts: list[int]) -> None:
    from ops.bench import capacity  # noqa: PLC0415

    capacity.run(counts[-1] if counts else capacity.PHOTOS, photos)


def _run(name: str, rounds: int, photos: Path | None, minutes: float) -> None:
    # Imported here, so that the command line starts without Pillow and the HTTP client.
    from ops.bench import (  # noqa: PLC0415
        appends,
        crowd,
        failover,
        fanout,
        latency,
        orchestration,
        page,
        places,
        replicas,
        transfers,
        upload,
        watchers,
    )

    of_rounds = {
        "appends": appends.run,
        "failover": failover.run,
        "fanout": fanout.run,
        "latency": latency.run,
        "orchestration": orchestration.run,
        "replicas": replicas.run,
        "transfers": transfers.run,
        "upload": upload.run,
        "urgent": orchestration.run_urgent,
        "watchers": watchers.run,
    }
    match name:
        case "pipeline" | "recipe":
            _run_with_photos(name, rounds, photos)
        case "crowd":
            crowd.run(minutes)
        case "page":
            page.run(min(rounds, PAGE_ROUNDS))
        case "places":
            places.run(rounds, photos)
        case _:
            of_rounds[name](rounds)


def _run_with_photos(name: str, rounds: int, photos: Path | None) -> None:
    from ops.bench import pipeline, recipe  # noqa: PLC0415

    if photos is None:
        report.headline(f"{name.capitalize()}, with real photos")
        report.note("skipped: name a folder of photos with --photos")
    elif name == "pipeline":
        pipeline.run(rounds, photos)
    else:
        recipe.run(rounds, photos)

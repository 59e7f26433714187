"""``photolog bench``"""

import os
from pathlib import Path

import click

from ops.bench import report

MEASUREMENTS = (
    "pipeline",
    "recipe",
    "latency",
    "upload",
    "appends",
    "orchestration",
    "urgent",
    "places",
    "replicas",
    "failover",
    "watchers",
    "crowd",
)
PHOTOS = Path("../shared/photos/camera")


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
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=PHOTOS if PHOTOS.is_dir() else None,
    metavar="FOLDER",
    help="Real photos for the measurements of the pipeline and of recipes.",
)
@click.option(
    "--minutes",
    default=1.0,
    show_default=True,
    help="How long the clients of `crowd` stay connected.",
)
def command(names: tuple[str, ...], rounds: int, photos: Path | None, minutes: float) -> None:
    """Measure how fast Photolog is, next to the limits of what it runs on.

    Each measurement starts its own Photolog in a temporary folder. Without a name, all of them run.

    Three of them start clusters on this machine: `replicas` appends with and without waiting for a
    replica's disk, `failover` measures how long uploads take after a master has died, and
    `watchers` counts the events that SSE streams receive, with and without waiting.
    """
    report.preamble(os.cpu_count() or 1)
    for name in names or MEASUREMENTS:
        _run(name, rounds, photos, minutes)


def _run(name: str, rounds: int, photos: Path | None, minutes: float) -> None:
    # Imported here, so that the command line starts without Pillow and the HTTP client.
    from ops.bench import (  # noqa: PLC0415
        appends,
        crowd,
        failover,
        latency,
        orchestration,
        places,
        replicas,
        upload,
        watchers,
    )

    match name:
        case "pipeline" | "recipe":
            _run_with_photos(name, rounds, photos)
        case "latency":
            latency.run(rounds)
        case "upload":
            upload.run(rounds)
        case "appends":
            appends.run(rounds)
        case "orchestration":
            orchestration.run(rounds)
        case "crowd":
            crowd.run(minutes)
        case "places":
            places.run(rounds, photos)
        case "replicas":
            replicas.run(rounds)
        case "failover":
            failover.run(rounds)
        case "watchers":
            watchers.run(rounds)
        case _:
            orchestration.run_urgent(rounds)


def _run_with_photos(name: str, rounds: int, photos: Path | None) -> None:
    from ops.bench import pipeline, recipe  # noqa: PLC0415

    if photos is None:
        report.headline(f"{name.capitalize()}, with real photos")
        report.note("skipped: name a folder of photos with --photos")
    elif name == "pipeline":
        pipeline.run(rounds, photos)
    else:
        recipe.run(rounds, photos)

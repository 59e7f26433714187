"""``photolog bench``"""

import os
from pathlib import Path

import click

from ops.bench import report

MEASUREMENTS = (
    "pipeline",
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
@click.option("--rounds", default=5, show_default=True, help="Runs of each side, taken in turn.")
@click.option(
    "--photos",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=PHOTOS if PHOTOS.is_dir() else None,
    metavar="FOLDER",
    help="Real photos for the pipeline's measurement.",
)
@click.option(
    "--minutes", default=1.0, show_default=True, help="How long the crowd of `crowd` stays."
)
def command(names: tuple[str, ...], rounds: int, photos: Path | None, minutes: float) -> None:
    """Measure Photolog beside the limits it is up against.

    Each measurement starts a Photolog of its own in a temporary folder. Without a name all are run.

    Three of them form clusters on this machine: `replicas` appends with and without waiting for a
    replica's disk, `failover` times uploads from the death of a master on, and `watchers` counts
    the events that are shown to SSE streams, with and without waiting.
    """
    report.preamble(os.cpu_count() or 1)
    for name in names or MEASUREMENTS:
        _run(name, rounds, photos, minutes)


def _run(name: str, rounds: int, photos: Path | None, minutes: float) -> None:
    # Imported here: the command line starts without Pillow and the HTTP client.
    from ops.bench import (  # noqa: PLC0415
        appends,
        crowd,
        failover,
        latency,
        orchestration,
        pipeline,
        places,
        replicas,
        upload,
        watchers,
    )

    match name:
        case "pipeline" if photos is None:
            report.headline("Real photos per second, end to end")
            report.note("skipped: name a folder of photos with --photos")
        case "pipeline" if photos is not None:
            pipeline.run(rounds, photos)
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

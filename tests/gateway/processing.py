"""Record what workers would record, without workers: the gateway sees no difference."""

import hashlib
from io import BytesIO
from typing import Any

import msgspec
from PIL import Image

from domain.photo.commands import (
    PhotoCommand,
    RecordStageCompleted,
    RecordStageFailed,
    StartProcessing,
)
from domain.photo.results import (
    MetadataResult,
    OptimizationResult,
    PlaceholderResult,
    Rendition,
    ThumbnailsResult,
    ValidationResult,
)
from domain.pipeline.failures import Category
from domain.pipeline.stages import PIPELINES
from store.blobs.interface import rendition_key
from tests.conftest import CONTEXT
from tests.gateway.conftest import Gateway

SIZES = (150, 300, 600)

RESULTS: dict[str, Any] = {
    "validation": ValidationResult(format="PNG", mime_type="image/png", width=8, height=8),
    "metadata": MetadataResult(width=8, height=8),
    "thumbnails": ThumbnailsResult(sizes=SIZES),
    "placeholder": PlaceholderResult(blurhash="L00000fQfQfQfQfQfQfQfQfQfQfQ"),
    "optimization": OptimizationResult(recipe="webp-1920-q80"),
}


async def process(
    gateway: Gateway, photo: dict[str, Any], *, shade: int = 7, taken_at: str | None = None
) -> str:
    """Record the whole pipeline over a photo of alice; return the position of its last event.

    Renditions with another ``shade`` differ from those of an earlier run.
    """
    await start(gateway, photo)
    position = ""
    for stage in RESULTS:
        position = await complete(gateway, photo, stage, shade=shade, taken_at=taken_at)
    missing = PIPELINES["full_processing"] ^ set(RESULTS)
    assert not missing, f"RESULTS lacks or has more than the pipeline: {sorted(missing)}"
    return position


async def complete(
    gateway: Gateway,
    photo: dict[str, Any],
    stage: str,
    *,
    shade: int = 7,
    taken_at: str | None = None,
) -> str:
    """Record that a stage completed; return the position of the last event."""
    names = {
        "thumbnails": tuple(f"thumbnail-{size}" for size in SIZES),
        "optimization": ("optimized",),
    }.get(stage, ())
    renditions = [await _rendition(gateway, photo, name, shade) for name in names]
    result = RESULTS[stage]
    if stage == "metadata":
        result = msgspec.structs.replace(result, taken_at=taken_at)
    return await _execute(
        gateway,
        RecordStageCompleted(
            photo_id=photo["photoId"],
            job_id=photo["jobId"],
            stage=stage,
            attempt=1,
            duration_ms=5,
            result=msgspec.to_builtins(result),
            renditions=tuple(renditions),
        ),
    )


async def fail(
    gateway: Gateway,
    photo: dict[str, Any],
    *,
    stage: str = "validation",
    category: Category = Category.DATA,
    code: str = "truncated",
    retry_at: str | None = None,
) -> str:
    """Record that the photo's job failed; return the position of the last event.

    With ``retry_at`` only an attempt has failed.
    """
    return await _execute(
        gateway,
        RecordStageFailed(
            photo_id=photo["photoId"],
            job_id=photo["jobId"],
            stage=stage,
            attempt=1,
            category=category,
            code=code,
            error="The picture ends too early.",
            retry_at=retry_at,
        ),
    )


async def start(gateway: Gateway, photo: dict[str, Any]) -> str:
    command = StartProcessing(photo_id=photo["photoId"], job_id=photo["jobId"])
    return await _execute(gateway, command)


async def _execute(gateway: Gateway, command: PhotoCommand) -> str:
    outcome = await gateway.log.execute(command, client_id="alice", context=CONTEXT)
    return str(outcome.position)


async def _rendition(gateway: Gateway, photo: dict[str, Any], name: str, shade: int) -> Rendition:
    file = BytesIO()
    Image.new("RGB", (8, 8), (len(name), shade, 9)).save(file, "WEBP", lossless=True)
    data = file.getvalue() + name.encode()  # differs for each name
    sha256 = hashlib.sha256(data).hexdigest()
    key = rendition_key(photo["photoId"], photo["jobId"], name, sha256)
    await gateway.blobs.put(key, data)
    return Rendition(
        name=name,
        key=key,
        width=8,
        height=8,
        file_size=len(data),
        mime_type="image/webp",
        sha256=sha256,
    )

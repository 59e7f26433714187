"""Settings of workers, stages and pictures; see ``ops.config.settings``."""

from typing import Annotated

from msgspec import Meta

from domain.pipeline.failures import Category
from domain.pipeline.retries import STRATEGIES
from handlers.decoder.settings import Pace, Sandbox
from handlers.stage import ImageLimits, Recipe
from handlers.worker.settings import WorkerSettings
from ops.config.bounds import FORMATS, Count, Natural, Positive, Seconds
from ops.config.gateway_settings import GatewaySettings
from ops.config.strategies import text_of

_IMAGES = ImageLimits()
_RECIPE = Recipe()
_WORKER = WorkerSettings()
_PACE = Pace()
_SANDBOX = Sandbox()


class PipelineSettings(GatewaySettings, frozen=True, kw_only=True):
    """How workers run, what follows a failure, and how pictures are decoded and made."""

    concurrency: Annotated[
        Natural, Meta(description="Tasks that a worker holds at once; 0: five per decoder.")
    ] = 0
    client_concurrency: Annotated[
        Natural,
        Meta(
            description="How many of these tasks one client may have; 0: half of them, but at "
            "least one per decoder."
        ),
    ] = 0
    stalled_after_s: Annotated[
        Seconds,
        Meta(description="A task whose claim was not refreshed for this long is taken over."),
    ] = _WORKER.stalled_after_s
    max_stalls: Annotated[
        Natural, Meta(description="How often a task may stall before it fails.")
    ] = _WORKER.max_stalls
    worker_drain_s: Annotated[
        Seconds, Meta(description="How long a stopping worker may take to finish its tasks.")
    ] = _WORKER.drain_s
    worker_patience_s: Annotated[
        Seconds, Meta(description="How long a worker keeps a result while Redis is unavailable.")
    ] = _WORKER.patience_s
    retry_temporary: Annotated[
        str, Meta(description="Retries after a dependency was unavailable.")
    ] = text_of(STRATEGIES[Category.TEMPORARY])
    retry_resource: Annotated[
        str, Meta(description="Retries after memory, disk space or time ran out.")
    ] = text_of(STRATEGIES[Category.RESOURCE])
    retry_data: Annotated[
        str, Meta(description="Retries of a file that is not a readable picture.")
    ] = text_of(STRATEGIES[Category.DATA])
    retry_logic: Annotated[str, Meta(description="Retries after a bug in Photolog.")] = text_of(
        STRATEGIES[Category.LOGIC]
    )
    retry_security: Annotated[str, Meta(description="Retries after hostile input.")] = text_of(
        STRATEGIES[Category.SECURITY]
    )
    retry_configuration: Annotated[
        str, Meta(description="Retries after a failure that an operator has to fix.")
    ] = text_of(STRATEGIES[Category.CONFIGURATION])

    max_pixels: Annotated[
        Count, Meta(description="Maximum number of pixels of a picture that is decoded.")
    ] = _IMAGES.max_pixels
    max_frames: Annotated[
        Count, Meta(description="Maximum number of frames of an animated picture.")
    ] = _IMAGES.max_frames
    max_parts: Annotated[
        Count,
        Meta(
            description="Maximum number of segments, chunks or blocks of a picture file, filler "
            "bytes included."
        ),
    ] = _IMAGES.max_parts
    max_scans: Annotated[
        Count, Meta(description="Maximum number of scans of a progressive JPEG.")
    ] = _IMAGES.max_scans
    refused_formats: Annotated[
        str,
        Meta(
            description="Formats that are not decoded, such as 'HEIC HEIF', for a decoder with a "
            "vulnerability that no release has fixed yet.",
            pattern=FORMATS,
        ),
    ] = _IMAGES.refused_formats
    decoders: Annotated[
        Natural, Meta(description="Decoder processes of a worker; 0: one per processor.")
    ] = 0
    decoder_memory_bytes: Annotated[
        Count, Meta(description="Maximum address space of a decoder process.")
    ] = 3 << 30
    worker_memory_bytes: Annotated[
        Natural,
        Meta(
            description="Memory that all decoders of a worker may use together; 0: 75 % of what "
            "the machine or its cgroup has free at the start, divided among the workers of `up`."
        ),
    ] = 0
    decoder_cache_bytes: Annotated[
        Natural,
        Meta(
            description="Maximum size of the decoded pictures that a decoder process keeps in "
            "memory."
        ),
    ] = 64 << 20
    decoder_answer_bytes: Annotated[
        Count,
        Meta(description="Maximum size of a decoder's answer, with the pictures that it has made."),
    ] = 64 << 20
    decoder_user: Annotated[
        str,
        Meta(
            description="User that decoders run as, by name or number, if the worker may switch "
            "users, as root may; empty: the user of the worker."
        ),
    ] = _SANDBOX.user
    decoder_seccomp: Annotated[
        bool,
        Meta(description="Allow decoders only the system calls that decoding needs (seccomp)."),
    ] = _SANDBOX.seccomp
    decoder_landlock: Annotated[
        bool, Meta(description="Deny decoders the file system and the network (Landlock).")
    ] = _SANDBOX.landlock
    expensive_s: Annotated[
        Positive,
        Meta(
            description="A picture that is expected to take a decoder longer is expensive: of "
            "several decoders, one is always left for other pictures."
        ),
    ] = _PACE.expensive_s
    slow_s: Annotated[
        Positive,
        Meta(
            description="A picture that has taken a decoder longer becomes expensive too; if it "
            "holds the last decoder while others wait, it starts over later."
        ),
    ] = _PACE.slow_s
    stage_timeout_s: Annotated[
        Seconds, Meta(description="Longest run of a stage; then its decoder is killed.")
    ] = _WORKER.stage_timeout_s
    superseded_grace_s: Annotated[
        float,
        Meta(
            description="How long renditions stay after a later job has replaced them, and at "
            "least as long as a signed URL is valid.",
            ge=0,
            le=2_592_000,
        ),
    ] = _WORKER.superseded_grace_s
    recipe_longest_edge: Annotated[
        int, Meta(description="Longest edge of the optimized picture, in pixels.", ge=1, le=16_383)
    ] = _RECIPE.longest_edge
    recipe_quality: Annotated[
        int, Meta(description="WebP quality of the optimized picture.", ge=1, le=100)
    ] = _RECIPE.quality
    recipe_method: Annotated[
        int, Meta(description="WebP effort: 0 is fast, 6 makes small files.", ge=0, le=6)
    ] = _RECIPE.method

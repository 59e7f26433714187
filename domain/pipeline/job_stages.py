"""The stages of one job, which its first event fixes.

During an upgrade, roles of several versions work on one log, and each version has its own tree. If
each planned by its own tree, a result could lead to nothing: the version that reads the event first
may not know the stage that comes next. So the version that records the beginning of a job also
records the job's stages, and all versions plan by these, also stages that they cannot run.

Events leave the stages out if the pipeline had the same ones in the first version.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from domain.pipeline.stages import BACKFILL, PIPELINES, TREE

JobStages = dict[str, str | None]
"""Each stage of a job, and the stage whose completion starts it."""

_Tree = Mapping[str, str | None]

FIRST_TREE: _Tree = MappingProxyType(
    {
        "validation": None,
        "metadata": "validation",
        "thumbnails": "validation",
        "optimization": "validation",
        "placeholder": "thumbnails",
    }
)
"""The tree of the first version. It never changes, because it tells what stored events mean."""

FIRST_PIPELINES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "full_processing": frozenset(FIRST_TREE),
        "quick_processing": frozenset({"validation", "thumbnails"}),
    }
)


def current_stages(pipeline: str) -> JobStages:
    """Return the stages that this version gives a new job; none for an unknown pipeline."""
    return _stages_of(pipeline, TREE, PIPELINES)


def stages_to_record(pipeline: str) -> JobStages | None:
    """Return what the first event of a job says of its stages; None if it leaves them out."""
    stages = current_stages(pipeline)
    return None if stages == stages_of_job(pipeline, None) else stages


def stages_of_job(pipeline: str, recorded: JobStages | None) -> JobStages:
    """Return the stages of a job whose first event has ``recorded``."""
    return _stages_of(pipeline, FIRST_TREE, FIRST_PIPELINES) if recorded is None else recorded


def ancestors(stages: _Tree, stage: str) -> frozenset[str]:
    """Return the stages that must be done before ``stage``."""
    parent = stages.get(stage)
    return frozenset() if parent is None else ancestors(stages, parent) | {parent}


def descendants(stages: _Tree, stage: str) -> frozenset[str]:
    """Return the stages that build on ``stage``."""
    return frozenset(name for name in stages if stage in ancestors(stages, name))


def children(stages: _Tree, stage: str) -> tuple[str, ...]:
    """Return the stages that the completion of ``stage`` starts, as ``in_order`` sorts them."""
    return in_order(name for name, parent in stages.items() if parent == stage)


def ready(stages: _Tree, done: Collection[str]) -> tuple[str, ...]:
    """Return the stages that can run once ``done`` is done, as ``in_order`` sorts them."""
    return in_order(
        stage
        for stage, parent in stages.items()
        if stage not in done and (parent is None or parent in done)
    )


def in_order(stages: Iterable[str]) -> tuple[str, ...]:
    """Sort stages as they stand in this version's tree; stages that it lacks come last, by name."""
    order = {stage: at for at, stage in enumerate(TREE)}
    return tuple(sorted(stages, key=lambda stage: (order.get(stage, len(order)), stage)))


def _stages_of(pipeline: str, tree: _Tree, pipelines: Mapping[str, Collection[str]]) -> JobStages:
    stages = pipelines.get(pipeline, ())
    if pipeline.startswith(BACKFILL) and (stage := pipeline.removeprefix(BACKFILL)) in tree:
        stages = ancestors(tree, stage) | {stage} | descendants(tree, stage)
    return {stage: parent for stage, parent in tree.items() if stage in stages}

from typing import Any

import pytest

from ops.lines import Shown, what


def said(kind: str, **data: Any) -> str:
    return what(Shown(id="0:1-0", type=kind, timestamp="", data=data, metadata={}))


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        ("pipeline.paused", {"stage": "metadata"}, "metadata"),
        ("pipeline.resumed", {"stage": None}, "all stages"),
        (
            "pipeline.drained",
            {"stage": None, "tasks": 1_200, "reason": "a bad batch"},
            "all stages, 1,200 tasks, a bad batch",
        ),
        (
            "pipeline.limited",
            {
                "stage": "metadata",
                "limit": {"concurrency": 2, "rate": {"max": 10, "durationMs": 1000}},
            },
            "metadata, 2 at once, 10 in 1,000 ms",
        ),
        (
            "pipeline.limited",
            {"stage": "metadata", "limit": {"concurrency": None, "rate": None}},
            "metadata, no limit",
        ),
        (
            "pipeline.alerted",
            {"stage": "metadata", "level": "warn", "category": "resource", "error": "No room."},
            "metadata, warn, resource, No room.",
        ),
        (
            "photo.processing.discarded",
            {"photoId": "p", "reason": "a\nscreenshot"},
            "a\ufffdscreenshot",
        ),
        (
            "access.revoked",
            {"tokenId": "t1", "clientId": None, "before": None, "reason": "lost laptop"},
            "token t1, lost laptop",
        ),
        (
            "access.revoked",
            {"tokenId": None, "clientId": None, "before": "2026-11-23T10:00:00.000Z", "reason": ""},
            "tokens of everyone issued up to 2026-11-23T10:00:00.000Z",
        ),
        ("pipeline.turned", {"stage": "metadata", "by": 90}, "stage=metadata, by=90"),
    ],
)
def test_what_happens_to_the_pipeline_is_a_line(kind: str, data: dict[str, Any], line: str) -> None:
    assert said(kind, **data) == line

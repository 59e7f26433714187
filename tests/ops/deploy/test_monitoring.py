"""The Grafana dashboard and the Prometheus alerts agree with the metrics and the guide."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ops.telemetry.metrics import METRICS
from tests.ops.deployment import (
    DEPLOY,
    GUIDE,
)

ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "photolog.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in RULES},
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in PANELS
        for target in panel.get("targets", ())
    },
}

OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that Prometheus adds to every metric, and those of histograms."""

UNINTERESTING = {"process_virtual_memory_bytes"}


def metrics_in(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the metrics in the expression, each with the labels that select it."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    plain = re.sub(r"\b(by|on|without|ignoring) *\([^)]*\)", " ", plain)
    for name, selected in re.findall(r"\b([a-z_]+)\b(?! *\()(?:\{([^}]*)\})?", plain):
        if "_" in name.strip("_") and not name.startswith("__") and f"{name}=" not in plain:
            yield name, set(re.findall(r"(\w+) *[=!]", selected))


def described(name: str) -> Any:
    """Return the metric that has samples of that name."""
    for metric in METRICS:
        if metric.kind == "histogram":
            if name in {f"{metric.name}_{part}" for part in ("bucket", "count", "sum")}:
                return metric
        elif metric.name == name:
            return metric
    return None


@pytest.mark.parametrize("title", EXPRESSIONS)
def test_an_expression_uses_existing_metrics_and_labels(title: str) -> None:
    expression = EXPRESSIONS[title]
    grouped = {
        label
        for labels in re.findall(r"\bby *\(([^)]*)\)", expression)
        for label in re.findall(r"\w+", labels)
    }
    found = dict(metrics_in(expression))

    for name, selected in found.items():
        metric = described(name)
        assert metric is not None, f"there is no {name}"
        assert selected <= OF_PROMETHEUS | set(metric.labels), name
    known = {label for name in found for label in described(name).labels}
    assert grouped <= OF_PROMETHEUS | known


def test_the_dashboard_shows_every_metric() -> None:
    shown = {
        described(name).name
        for panel in PANELS
        for target in panel.get("targets", ())
        for name, _ in metrics_in(target["expr"])
    }

    assert {metric.name for metric in METRICS} - shown == UNINTERESTING


def test_panels_have_unique_ids_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    covered: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & covered, panel["title"]
        covered |= cells


def test_the_guide_says_what_to_do_about_each_alert() -> None:
    explained = re.findall(r"^\| (Photolog\w+) \|", GUIDE, re.MULTILINE)

    assert explained == [rule["alert"] for rule in RULES]


def test_each_alert_links_to_the_table_that_says_what_to_do() -> None:
    table = GUIDE.index(f"| {RULES[0]['alert']} |")
    heading = re.findall(r"^## (.+)$", GUIDE[:table], re.MULTILINE)[-1]
    anchor = f"ops/guides/operating.md#{heading.lower().replace(' ', '-')}"

    assert {rule["annotations"].get("runbook_url") for rule in RULES} == {anchor}


def test_the_dashboard_begins_with_numbers_and_alerts() -> None:
    first = min(panel["gridPos"]["y"] for panel in PANELS if panel["type"] != "row")
    kinds = [panel["type"] for panel in PANELS if panel["gridPos"]["y"] == first]

    assert set(kinds) == {"stat", "alertlist"}
    names = {each["name"] for each in DASHBOARD["templating"]["list"]}
    assert names == {"stage", "role", "instance"}

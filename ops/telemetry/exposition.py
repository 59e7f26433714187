"""Write metrics in Prometheus' text format.

The first scrape imports this module: each role would start later if it loaded prometheus_client,
and many systems have no Prometheus.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from ops.telemetry.metrics import Metric, Samples
from store.histogram import Distribution

_PROCESS = ProcessCollector(registry=None)


def written(metrics: Iterable[tuple[Metric, Samples]]) -> bytes:
    """Return the metrics with their samples, and those that the library measures itself."""
    families = [_family(metric, samples) for metric, samples in metrics]
    return generate_latest(_Collected([*families, *_PROCESS.collect()]))


class _Collected(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        return iter(self._families)


def _family(metric: Metric, samples: Samples) -> Family:
    kind = {
        "counter": CounterMetricFamily,
        "gauge": GaugeMetricFamily,
        "histogram": HistogramMetricFamily,
    }[metric.kind]
    family: Any = kind(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in samples.items():
        if isinstance(value, Distribution):
            family.add_metric(labels, buckets=_buckets(value), sum_value=value.total)
        else:
            family.add_metric(labels, value)
    return family


def _buckets(found: Distribution) -> list[tuple[str, int]]:
    """Return cumulative buckets: for Prometheus, each includes the smaller ones."""
    bounds = [*(str(float(bound)) for bound in found.bounds), "+Inf"]
    return list(zip(bounds, accumulate(found.counts), strict=True))

"""Observe a running system from outside."""

from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.ops.systems import DEADLINE_S, System, wait_until


class Observer:
    """Polls the system over HTTP as an auditor, which costs less than running commands."""

    def __init__(self, system: System) -> None:
        arguments = ("--client", "observer", "--role", "auditor")
        token = system.photolog("token", *arguments).stdout.strip()
        self._client = httpx.Client(
            base_url=system.url, headers={"Authorization": f"Bearer {token}"}, timeout=DEADLINE_S
        )

    def get(self, path: str) -> Any:
        return self._client.get(path).raise_for_status().json()

    def history(self, photo: str) -> list[dict[str, Any]]:
        return self.get(f"/api/photos/{photo}/history")["items"]

    def count(self, photo: str, kind: str) -> int:
        types = [event["type"] for event in self.history(photo)]
        return types.count(f"photo.processing.{kind}")

    def completed(self, photos: list[str], jobs: int = 1) -> None:
        """Wait until ``jobs`` jobs of each photo are completed."""
        for photo in photos:
            wait_until(lambda p=photo: self.count(p, "completed") == jobs, f"{photo} is completed")

    def waiting(self, count: int) -> None:
        """Wait until ``count`` validations wait and none runs."""

        def do_wait() -> bool:
            queue = self.get("/api/ops/queues")["stages"][0]
            return (queue["waiting"], queue["inProgress"]) == (count, 0)

        wait_until(do_wait, f"{count} validations wait")

    def is_followed(self) -> bool:
        """Return whether all workers follow the last command about the queues."""
        return self.get("/api/ops/queues/all/drain")["unaware"] == []

    def queue_requests(self) -> float:
        """Return how many requests for the queues the gateway has answered, from any client."""
        return self._requests("/api/ops/queues")

    def drain_requests(self) -> float:
        """Return how many requests for drains the gateway has answered, from any client."""
        return self._requests("/api/ops/queues/{stage}/drain")

    def _requests(self, route: str) -> float:
        metrics = self._client.get("/metrics").raise_for_status().text
        return sum(
            sample.value
            for family in text_string_to_metric_families(metrics)
            for sample in family.samples
            if sample.name == "photolog_http_requests_total" and sample.labels["route"] == route
        )

    def close(self) -> None:
        self._client.close()

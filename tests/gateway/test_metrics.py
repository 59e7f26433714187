from prometheus_client.parser import text_string_to_metric_families
from syrupy.assertion import SnapshotAssertion

from tests.gateway.conftest import Gateway


async def samples(gateway: Gateway) -> dict[str, float]:
    """Name with labels to value."""
    answer = await gateway.client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_the_names_are_these(gateway: Gateway, snapshot: SnapshotAssertion) -> None:
    answer = await gateway.client.get("/metrics")

    families = text_string_to_metric_families(answer.text)
    assert sorted((family.name, family.type) for family in families) == snapshot


async def test_answers_are_counted_by_route_and_never_by_what_was_asked_for(
    gateway: Gateway,
) -> None:
    photo = (await gateway.upload()).json()
    await gateway.get(f"/api/photos/{photo['photoId']}", after=photo["position"])
    await gateway.get("/api/photos/nobodys")
    await gateway.get("/wp-admin.php")
    await gateway.client.get("/api/photos", headers={"Authorization": "Bearer x"})

    found = await samples(gateway)

    def count(method: str, route: str, status: int) -> float:
        labels = f"method={method} route={route} status={status}"
        return found[f"photolog_http_requests_total {labels}"]

    assert count("POST", "/api/photos/upload", 201) == 1
    assert count("GET", "/api/photos/{photo_id}", 200) == 1
    assert count("GET", "/api/photos/{photo_id}", 404) == 1
    assert count("GET", "/api/photos", 401) == 1
    assert count("GET", "", 404) == 1
    assert found["photolog_http_answer_seconds_count method=POST route=/api/photos/upload"] == 1
    assert not [name for name in found if "nobodys" in name or photo["photoId"] in name]


async def test_the_lag_of_a_read_model_that_has_everything_is_nought(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await gateway.get("/api/photos", after=photo["position"])

    assert (await samples(gateway))["photolog_projection_lag_seconds partition=0"] == 0

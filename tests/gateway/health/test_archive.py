"""What health says of the archive."""

from store.archive.reports import report, withdraw
from store.errors import Corrupt
from tests.gateway.conftest import Gateway

PROBLEM = (
    "segment log/segments/00/0000000000000001-00000000000000000000, from 0:1-0 on: it is missing"
)


async def test_what_an_archiver_reports_is_named(gateway: Gateway) -> None:
    await report(gateway.log, 0, Corrupt(PROBLEM))

    degraded = (await gateway.client.get("/health")).json()["checks"]["archive"]
    await withdraw(gateway.log, 0)
    well = (await gateway.client.get("/health")).json()["checks"]["archive"]

    assert degraded == {"status": "degraded", "reason": PROBLEM}
    assert well == {"status": "ok"}

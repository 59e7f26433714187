"""An honest client is served while hostile ones of every kind attack.

``photolog bench crowd`` measures how fast it is served.
"""

from ops.bench.crowd import hostile, use
from ops.bench.system import running

SECONDS = 6.0


async def test_an_honest_client_is_served_and_health_answers_while_a_crowd_attacks() -> None:
    with running() as system, hostile(system, SECONDS):
        noticed = await use(system, SECONDS)

    assert noticed.unwell == []
    assert noticed.completions

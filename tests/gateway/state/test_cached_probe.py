"""The results of slow probes are reused."""

import anyio

from gateway.state.cached_probe import CachedProbe


class Slow:
    """A probe that takes some time, and counts its looks."""

    def __init__(self) -> None:
        self.looks = 0

    async def look(self) -> int:
        await anyio.sleep(0.02)
        self.looks += 1
        return self.looks


async def test_a_result_is_used_again_until_it_expires() -> None:
    slow = Slow()
    probe = CachedProbe(slow.look, keep_s=60.0)

    assert [await probe.get(10), await probe.get(10)] == [1, 1]
    probe.expire()
    assert await probe.get(10) == 2


async def test_without_a_time_to_keep_it_every_call_looks() -> None:
    probe = CachedProbe(Slow().look, keep_s=0.0)

    assert [await probe.get(10), await probe.get(10)] == [1, 2]


async def test_a_slow_look_is_kept_so_long_that_looks_take_their_share_of_the_time() -> None:
    probe = CachedProbe(Slow().look, keep_s=0.0, busy_percent=0.01)

    assert [await probe.get(10), await probe.get(10)] == [1, 1]


async def test_a_look_that_takes_too_long_goes_on_without_its_caller() -> None:
    slow = Slow()
    probe = CachedProbe(slow.look, keep_s=60.0)

    assert await probe.get(0.0) is None
    assert await probe.get(10) == 1

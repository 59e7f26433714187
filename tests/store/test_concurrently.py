"""Several questions at once."""

import anyio
import pytest

from store.concurrently import for_each
from store.errors import Unavailable


async def test_all_are_asked_before_any_has_answered() -> None:
    asked: list[int] = []
    all_asked = anyio.Event()

    async def ask(number: int) -> int:
        asked.append(number)
        if len(asked) == 3:
            all_asked.set()
        await all_asked.wait()
        return number * 10

    assert await for_each(ask, [1, 2, 3]) == [10, 20, 30]


async def test_the_first_error_ends_the_others_and_is_raised_itself() -> None:
    async def ask(number: int) -> None:
        if number == 1:
            raise Unavailable("down")
        await anyio.sleep_forever()

    with pytest.raises(Unavailable, match="down"):
        await for_each(ask, range(3))

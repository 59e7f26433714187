"""Sign-outs at an OpenID provider, which end the sign-ins of before on all gateways.

| key | type | what |
|---|---|---|
| ``photolog:{07}:sign-out:<mark>`` | string, expires | sign-ins up to this time, in s, have ended |
| ``photolog:{07}:sign-out:<digest of a token>`` | string, expires | that the token was used |

They are not facts and not in the log: like sessions, they are lost with Redis.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from store.clients.provider_sign_in import ProviderSignIn
from store.log.log import Log
from store.redis.connection import translated

CHUNK = 500
"""How many marks are looked up at once."""

Marked = tuple[ProviderSignIn, str]
"""A sign-in with one of its marks."""

_TIME = re.compile(rb"[0-9]{1,15}")
"""A time in seconds; a mark with any other value is ignored."""


class SignOuts:
    """The sign-outs of one log. Every method raises Unavailable while Redis does not answer.

    Those that write exceed ``maxmemory``, because access must be able to end; they raise Full if
    Redis rejects writes for another reason.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._end = log.redis.lua("clients/sign_out", if_full=True)

    async def end(self, marks: Iterable[str], at_s: int, keep_s: float) -> None:
        """End the sign-ins up to ``at_s`` that have one of the marks. Repeating it changes nothing.

        ``keep_s`` is the longest that a session lives.
        """
        for mark in marks:
            await self._write(mark, at_s, keep_s)

    async def use(self, token: str, keep_s: float) -> bool:
        """Return whether the token, named by a digest, is used for the first time."""
        return await self._write(token, 1, keep_s) == 0

    async def ended(self, sign_ins: Iterable[ProviderSignIn]) -> set[ProviderSignIn]:
        """Return the sign-ins that the provider has ended."""
        found: set[ProviderSignIn] = set()
        for marked in self.by_partition(sign_ins):
            found |= await self.ended_by(marked)
        return found

    def by_partition(self, sign_ins: Iterable[ProviderSignIn]) -> Iterable[list[Marked]]:
        """Return the sign-ins with each of their marks: a list per partition that has marks."""
        found: defaultdict[int, list[Marked]] = defaultdict(list)
        for sign_in in sign_ins:
            for mark in sign_in.marks:
                found[self._log.partition_of(mark)].append((sign_in, mark))
        return found.values()

    async def ended_by(self, marked: list[Marked]) -> set[ProviderSignIn]:
        """Return the sign-ins that the provider has ended by these marks of one partition."""
        found: set[ProviderSignIn] = set()
        for start in range(0, len(marked), CHUNK):
            part = marked[start : start + CHUNK]
            with translated():
                replies = await self._log.redis.in_a_row(
                    *(("GET", self._key(mark)) for _, mark in part)
                )
                values = msgspec.convert(replies, list[bytes | None])
            for (sign_in, _), value in zip(part, values, strict=True):
                if value is not None and _TIME.fullmatch(value) and sign_in.at_s <= int(value):
                    found.add(sign_in)
        return found

    async def _write(self, digest: str, at_s: int, keep_s: float) -> int:
        with translated():
            before = await self._end(keys=[self._key(digest)], args=[at_s, max(1, int(keep_s))])
            return msgspec.convert(before, int)

    def _key(self, digest: str) -> str:
        return self._log.keys.sign_out(self._log.partition_of(digest), digest)

"""What the store tells of its work to whoever counts, logs or traces it."""

import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import msgspec

from domain.photo.events import Event
from store.errors import StoreError

P = ParamSpec("P")
T = TypeVar("T")


class ObservedAppend(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one append that the log has confirmed, at least one.

    ``began_ns`` since 1970; ``seconds`` include the looks and the tries that came before.
    """

    events: tuple[Event, ...]
    began_ns: int
    seconds: float


AppendObserver = Callable[[ObservedAppend], None]

OperationObserver = Callable[[str, str, float], None]
"""Told the operation, its outcome and its seconds."""


def ignore(*_: object) -> None:
    """Observes nothing."""


class _Operating(Protocol):
    observe: OperationObserver


B = TypeVar("B", bound=_Operating)


def operation(
    name: str,
) -> Callable[
    [Callable[Concatenate[B, P], Coroutine[Any, Any, T]]],
    Callable[Concatenate[B, P], Coroutine[Any, Any, T]],
]:
    """Tell ``observe`` of the verb's object how each call ended.

    The outcome is ``ok``, the name of a StoreError, or ``failed`` for a call that was broken off.
    """

    def decorate(
        verb: Callable[Concatenate[B, P], Coroutine[Any, Any, T]],
    ) -> Callable[Concatenate[B, P], Coroutine[Any, Any, T]]:
        @functools.wraps(verb)
        async def told(self: B, *args: P.args, **kwargs: P.kwargs) -> T:
            outcome, began = "failed", time.perf_counter()
            try:
                result = await verb(self, *args, **kwargs)
                outcome = "ok"
                return result
            except StoreError as error:
                outcome = type(error).__name__.lower()
                raise
            finally:
                self.observe(name, outcome, time.perf_counter() - began)

        return told

    return decorate

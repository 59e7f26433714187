"""Reports the store's work to observers that count, log or trace it."""

import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import msgspec

from domain.photo.events import Event
from store.errors import StoreError

P = ParamSpec("P")
T = TypeVar("T")


class ObservedAppend(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The events of one confirmed append, at least one.

    ``began_ns`` counts from 1970; ``seconds`` include loads and earlier tries.
    """

    events: tuple[Event, ...]
    began_ns: int
    seconds: float


AppendObserver = Callable[[ObservedAppend], None]

OperationObserver = Callable[[str, str, float], None]
"""Called with the operation, its outcome and its seconds."""


def ignore(*_: object) -> None:
    """Observe nothing."""


class _Operating(Protocol):
    observe: OperationObserver


B = TypeVar("B", bound=_Operating)


def operation(
    name: str,
) -> Callable[
    [Callable[Concatenate[B, P], Coroutine[Any, Any, T]]],
    Callable[Concatenate[B, P], Coroutine[Any, Any, T]],
]:
    """Call ``observe`` of the method's object after each call of the method.

    The outcome is ``ok``, the name of a StoreError, or ``failed`` for any other error and for a
    cancelled call.
    """

    def decorate(
        method: Callable[Concatenate[B, P], Coroutine[Any, Any, T]],
    ) -> Callable[Concatenate[B, P], Coroutine[Any, Any, T]]:
        @functools.wraps(method)
        async def observed(self: B, *args: P.args, **kwargs: P.kwargs) -> T:
            outcome, began = "failed", time.perf_counter()
            try:
                result = await method(self, *args, **kwargs)
                outcome = "ok"
                return result
            except StoreError as error:
                outcome = type(error).__name__.lower()
                raise
            finally:
                self.observe(name, outcome, time.perf_counter() - began)

        return observed

    return decorate

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


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one append that the log has confirmed, at least one.

    ``began_ns`` since 1970; ``seconds`` include the looks and the tries that came before.
    """

    events: tuple[Event, ...]
    began_ns: int
    seconds: float


AppendObserver = Callable[[Appended], None]

OperationObserver = Callable[[str, str, float], None]
"""Told the operation, its outcome and its seconds."""


def ignore(*_: object) -> None:
    """Observes nothing."""


class _Appending(Protocol):
    observe: AppendObserver


class _Operating(Protocol):
    observe: OperationObserver


class _Outcome(Protocol):
    @property
    def events(self) -> tuple[Event, ...]: ...


A = TypeVar("A", bound=_Appending)
B = TypeVar("B", bound=_Operating)
O = TypeVar("O", bound=_Outcome)  # noqa: E741


def appending(
    verb: Callable[Concatenate[A, P], Coroutine[Any, Any, O]],
) -> Callable[Concatenate[A, P], Coroutine[Any, Any, O]]:
    """Tell ``observe`` of the verb's object what each call has appended."""

    @functools.wraps(verb)
    async def told(self: A, *args: P.args, **kwargs: P.kwargs) -> O:
        began_ns, began = time.time_ns(), time.perf_counter()
        outcome = await verb(self, *args, **kwargs)
        if outcome.events:
            seconds = time.perf_counter() - began
            self.observe(Appended(events=outcome.events, began_ns=began_ns, seconds=seconds))
        return outcome

    return told


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

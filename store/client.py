"""The one place that makes Redis clients, with their traps turned off, and names their errors."""

from collections.abc import Generator
from contextlib import contextmanager
from importlib import resources

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from store.errors import Full, Unavailable

BLOCK_MS = 2_000
"""The longest blocking read; well below ``SOCKET_TIMEOUT_S``, which would cut it."""

SOCKET_TIMEOUT_S = 10.0


def connect(url: str) -> Redis:
    """A client that never sends a command twice: an append whose reply was lost may have happened.

    Who may safely try again does so itself.
    """
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType] # **kwargs of the library
        url,
        protocol=3,
        legacy_responses=False,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=5.0,
        max_connections=200,
    )


def script(name: str) -> str:
    """The text of ``<name>.lua`` of this package."""
    return resources.files("store").joinpath(f"{name}.lua").read_text("utf-8")


@contextmanager
def translated() -> Generator[None]:
    """Turn the driver's errors into ours.

    Raises:
        Unavailable: no answer, or the server is loading, failing over or stopping, or a consumer
            group is gone.
        Full: the server refuses writes for want of memory or disk.
    """
    try:
        yield
    except (exceptions.OutOfMemoryError, exceptions.ReadOnlyError) as error:
        raise Full(f"Redis refuses to write: {error}") from error
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        raise Unavailable(f"Redis did not answer: {error}") from error
    except exceptions.ResponseError as error:
        if str(error).startswith("MISCONF"):
            raise Full(f"Redis refuses to write: {error}") from error
        if str(error).startswith("NOGROUP"):  # somebody deleted it; whoever needs it makes it anew
            raise Unavailable(f"a consumer group is gone: {error}") from error
        raise

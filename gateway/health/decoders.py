"""Say what to do about workers that cannot start decoder processes."""

from collections import Counter
from collections.abc import Mapping

_ADVICE: dict[str, str] = {
    "no-memory": (
        "the memory is not enough: free some, or set fewer decoders or a larger memory limit"
    ),
    "no-processes": (
        "the limit on processes and threads is reached: end some, or raise it for the worker's user"
        " or container"
    ),
    "no-descriptors": "the limit on open files is reached: raise it for the worker",
    "not-executable": "the Python interpreter cannot be executed: repair the installation",
    "ends-at-start": "they end while they start: the worker's log says why",
    "no-answer": "they do not get ready in time: relieve the machine",
}
_UNKNOWN = "the worker's log says why"


def in_words(reasons: Mapping[str, str], workers: int) -> str:
    """Return one sentence about the workers that start no decoder; ``reasons`` is not empty.

    The reasons are those of ``store.queue.decoder_outages``, by worker.
    """
    advice = (
        _ADVICE.get(reason, _UNKNOWN) for reason, _ in Counter(reasons.values()).most_common()
    )
    count, total = len(reasons), max(workers, len(reasons))
    who = "no worker can" if count == total else f"{count} of {total} workers cannot"
    wait = "photos wait" if count == total else "the others go on"
    return f"{who} start decoders, so {wait}: {'; '.join(dict.fromkeys(advice))}"

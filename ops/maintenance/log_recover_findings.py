"""Find the events that a recovery of the log can bring back, and those that are lost.

| what shows that something is lost | what it says |
|---|---|
| a segment is damaged or missing, and no read model has its events | between which positions |
| an event does not continue its chain: the one before it is gone | which photo, and from where on |
| an original that no recovered event names | its upload came after what was recovered |

An event is recovered only if it continues its chain: versions count from 1 without a gap, and
``prev`` is the digest of the event before it. So every history that comes back is whole up to its
last event. Nothing can show how many events came after the last one that is left.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from domain.photo.events import FIRST_PREV, OriginalRestored, PhotoUploaded
from domain.pipeline.recoveries import LogRecovered
from domain.sessions.events import CHAIN
from domain.system_events import OF_NO_PHOTO, SystemData
from ops.errors import UserError
from ops.maintenance.log_recover_sources import Covered, ReadModels, Remaining, remaining
from ops.maintenance.log_recover_survey import Kept
from store.archive.archive import Listed
from store.archive.salvage import places
from store.archive.settings import TrimmingSettings
from store.keys import partition_of
from store.log import codec
from store.log.position import Position
from store.log.recorded import is_foreign

PIPELINE = "pipeline"
"""The name of the chain of events that are about no photo."""


class Lost(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Events after one position and before the other are lost; None: nothing shows the end."""

    after: str
    before: str | None
    reason: str


class Broken(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A photo's id, a session's chain or ``pipeline``, which has lost events.

    ``left_out`` events from ``position`` on remain and are not recovered, because version
    ``version``, which is before them, is gone.
    """

    chain: str
    version: int
    position: str
    left_out: int


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The part of one partition that can be recovered.

    ``last`` is the position of its last entry. ``archived_upto`` is where what stays in the archive
    alone ends, ``archived`` entries. Segments after ``aside_after`` are not part of the new log.
    """

    partition: int
    events: int = 0
    from_read_model: int = 0
    foreign: int = 0
    last: str | None = None
    segments: int = 0
    archived: int = 0
    archived_upto: str | None = None
    aside_after: str | None = None
    lost: list[Lost] = []


class Findings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All that can be recovered. ``epoch`` is that of the log afterwards.

    Its positions are ``begins_ms``, in milliseconds since 1970, or later.

    ``parts`` are the partitions that are recovered; ``kept`` are those that are still there.
    ``unread`` says which of these cannot be read, and why.

    ``unnamed`` are originals that no event names: of uploads that are lost, or were never answered.
    ``unused`` says which read models cannot be used, and why. ``system`` is the version and the
    digest of the last recovered event about no photo.
    """

    log: str
    epoch: int
    begins_ms: int
    parts: list[Part]
    broken: list[Broken]
    unnamed: list[str]
    unused: list[str]
    system: tuple[int, str]
    kept: tuple[int, ...] = ()
    unread: list[str] = []

    @property
    def events(self) -> int:
        return sum(each.events for each in self.parts)

    @property
    def recovered(self) -> tuple[int, ...]:
        """The partitions that are recovered."""
        return tuple(each.partition for each in self.parts)

    @property
    def from_read_model(self) -> int:
        return sum(each.from_read_model for each in self.parts)

    @property
    def digest(self) -> str:
        """The SHA-256 of what will be written: another run must find the same."""
        written = self.log, self.epoch, self.begins_ms, self.parts, self.broken, self.system
        return hashlib.sha256(msgspec.json.encode(written)).hexdigest()

    @property
    def photo_ids(self) -> list[str]:
        """The photos whose chains have lost events."""
        return [
            each.chain
            for each in self.broken
            if each.chain != PIPELINE and not each.chain.startswith(CHAIN)
        ]


class Chains:
    """The chains of partitions, up to the last event that was accepted."""

    def __init__(self, partitions: int) -> None:
        self.broken: dict[str, Broken] = {}
        self.epoch = 1
        self.originals: set[str] = set()
        self._partitions = partitions
        self._last: dict[str, tuple[int, str]] = {}

    @property
    def system(self) -> tuple[int, str]:
        return self._last.get(OF_NO_PHOTO, (0, FIRST_PREV))

    def take(self, each: Remaining) -> bool:
        """Return whether the entry is recovered: a foreign one is, an event if it fits its chain.

        Raises:
            UserError: the event belongs to another partition.
            Corrupt: the event cannot be read, as one of a newer version.
        """
        fields = each.entry.fields
        if is_foreign(fields):
            return True
        body = fields[b"b"]
        event = codec.decode_event(body)
        data, metadata = event.data, event.metadata
        owner = (
            0
            if isinstance(data, SystemData)
            else partition_of(metadata.client_id, self._partitions)
        )
        if owner != each.position.partition:
            raise UserError(
                f"the event at {each.position} would be in partition {owner} of "
                f"{self._partitions}: the log had another number of partitions. Name it with "
                "--partitions"
            )
        if isinstance(data, LogRecovered):  # an epoch is not used again if its event is left out
            self.epoch = max(self.epoch, data.epoch)
        chain, version = data.photo_id, metadata.photo_version
        last, digest = self._last.get(chain, (0, FIRST_PREV))
        if version != last + 1 or metadata.prev != digest:
            self._leave_out(chain, last + 1, each.position)
            return False
        self._last[chain] = version, codec.digest(body)
        if isinstance(data, PhotoUploaded | OriginalRestored):
            self.originals.add(data.key)
        return True

    def _leave_out(self, chain: str, version: int, position: Position) -> None:
        name = PIPELINE if chain == OF_NO_PHOTO else chain
        known = self.broken.get(name)
        self.broken[name] = Broken(
            chain=name,
            version=version,
            position=known.position if known else str(position),
            left_out=1 + (known.left_out if known else 0),
        )


async def recovered(
    blobs: Listed, models: ReadModels, log_id: str, partitions: int, partition: int
) -> AsyncIterator[Remaining]:
    """Yield the entries of the partition that are recovered, in order; raises as ``examine``."""
    chains = Chains(partitions)
    async for each in remaining(blobs, models, log_id, partition):
        if not isinstance(each, Covered) and chains.take(each):
            yield each


async def examine(
    blobs: Listed,
    models: ReadModels,
    log_id: str,
    partitions: int,
    trimming: TrimmingSettings,
    now_ms: int,
    lost: Sequence[int],
    kept: Kept,
) -> Findings:
    """Read everything that is left of the ``lost`` partitions, and return what can be recovered.

    ``trimming`` says what stays in the archive alone, as of ``now_ms``.

    Raises:
        UserError: the log had another number of partitions.
        Corrupt: an event cannot be read.
        Unavailable: the blob store does not answer.
    """
    chains = Chains(partitions)
    examined = [_Examined(partition) for partition in lost]
    for each in examined:
        await each.read(remaining(blobs, models, log_id, each.partition), chains)
    begins_ms = max(now_ms, *(each.last.ms + 1 for each in examined if each.last), 0)
    parts = [
        each.part(len(await places(blobs, each.partition)), trimming, begins_ms)
        for each in examined
    ]
    named = chains.originals | kept.originals
    originals = [] if kept.unread else [blob.key for blob in await blobs.keys("originals")]
    return Findings(
        log=log_id,
        epoch=max(chains.epoch, kept.epoch) + 1,
        begins_ms=begins_ms,
        parts=parts,
        broken=sorted(chains.broken.values(), key=lambda each: each.chain),
        unnamed=[key for key in originals if key not in named],
        unused=models.unused,
        system=chains.system,
        kept=tuple(each for each in range(partitions) if each not in lost),
        unread=kept.unread,
    )


class _Segment(msgspec.Struct):
    last: Position
    entries: int = 0
    size: int = 0


class _Examined:
    """Counts what is left of one partition."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.counts = {"events": 0, "from_read_model": 0, "foreign": 0}
        self.last: Position | None = None
        self.aside_after: Position | None = None
        self.lost: list[Lost] = []
        self.segments: dict[str, _Segment] = {}
        self.tail_size = 0

    async def read(self, left: AsyncIterator[Remaining | Covered], chains: Chains) -> None:
        async for each in left:
            if isinstance(each, Covered):
                self._gap(each)
            elif chains.take(each):
                self._count(each)
            elif each.place is not None and self.aside_after is None:
                self.aside_after = each.place.first.before

    def part(self, segments: int, trimming: TrimmingSettings, now_ms: int) -> Part:
        archived, upto = self._archived(trimming, now_ms)
        return Part(
            partition=self.partition,
            last=str(self.last) if self.last else None,
            segments=segments,
            archived=archived,
            archived_upto=str(upto) if upto else None,
            aside_after=str(self.aside_after) if self.aside_after else None,
            lost=self.lost,
            **self.counts,
        )

    def _gap(self, covered: Covered) -> None:
        gap = covered.gap
        if self.aside_after is None:
            self.aside_after = gap.after
        if covered.upto is None:
            after = max(gap.after, self.last or gap.after)
            before = str(gap.before) if gap.before else None
            self.lost.append(Lost(after=str(after), before=before, reason=gap.reason))

    def _count(self, each: Remaining) -> None:
        self.last = each.position
        is_event = not is_foreign(each.entry.fields)
        self.counts["events" if is_event else "foreign"] += 1
        if each.place is None:
            self.counts["from_read_model"] += 1
            self.tail_size += each.entry.size
            return
        segment = self.segments.setdefault(each.place.key, _Segment(each.position))
        segment.last = each.position
        segment.entries += 1
        segment.size += each.entry.size

    def _archived(self, trimming: TrimmingSettings, now_ms: int) -> tuple[int, Position | None]:
        """Return how much stays in the archive alone, as the archiver would trim it.

        The last segment, or what comes after it, is written into the stream in any case.
        """
        whole = [
            each
            for each in self.segments.values()
            if self.aside_after is None or each.last <= self.aside_after
        ]
        in_stream = self.tail_size + sum(each.size for each in whole)
        entries, upto = 0, None
        for each in whole:
            if each.last == self.last:
                break
            age_s = (now_ms - each.last.ms) / 1000
            is_old = trimming.archive_keep_s is not None and age_s >= trimming.archive_keep_s
            most = trimming.archive_keep_bytes
            if not is_old and (most is None or in_stream <= most):
                break
            entries, upto = entries + each.entries, each.last
            in_stream -= each.size
        return entries, upto


def sentences(findings: Findings) -> Mapping[str, list[str]]:
    """Return in words what is lost, by how it is known."""
    gaps = [
        f"{each.reason}: events after {each.after} "
        + (f"and before {each.before} are lost" if each.before else "may be lost")
        for part in findings.parts
        for each in part.lost
    ]
    chains = [
        f"{each.chain}: version {each.version} is gone, so {each.left_out} later "
        f"{'event' if each.left_out == 1 else 'events'} from {each.position} on cannot be used"
        for each in findings.broken
    ]
    return {
        "segments": gaps,
        "chains": chains,
        "kept": findings.unread,
        "originals": [f"{key}: no recovered event names it" for key in findings.unnamed],
        "read models": [f"not used: {each}" for each in findings.unused],
    }

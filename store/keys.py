"""The names of all keys in Redis.

All keys of a partition share its hash tag, so that every script runs in one cluster slot.
"""

import zlib

from domain.pipeline.stages import LANES

DEFAULT_PREFIX = "photolog"


def partition_of(client_id: str, count: int) -> int:
    """Return the partition of all the client's photos, whose events so have one order."""
    return zlib.crc32(client_id.encode()) % count


class _Starts(dict[int, str]):
    """Maps each partition to the beginning of its keys."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def __missing__(self, partition: int) -> str:
        start = self[partition] = f"{self._prefix}:{{{partition:02d}}}:"
        return start


class Keys:
    """The keys of one log. ``prefix`` keeps several logs apart on one server."""

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        self.prefix = prefix
        self.meta = f"{prefix}:meta"
        self.projected = f"{prefix}:projected"
        self._starts = _Starts(prefix)

    def _in(self, partition: int, rest: str) -> str:
        return self._starts[partition] + rest

    def log(self, partition: int) -> str:
        return self._in(partition, "log")

    def trimmed(self, partition: int) -> str:
        """The position up to which events are in the archive alone."""
        return self._in(partition, "trimmed")

    def evicted(self, partition: int) -> str:
        """The position up to which the states of photos at rest were removed."""
        return self._in(partition, "evicted")

    def archiving(self, partition: int) -> str:
        """The archiver that works on the partition."""
        return self._in(partition, "archiving")

    def unarchived(self, partition: int) -> str:
        """What keeps the partition from being archived; see ``store.archive.reports``."""
        return self._in(partition, "unarchived")

    def doubted(self, partition: int) -> str:
        """The segment that a reader could not use; see ``store.log.archived``."""
        return self._in(partition, "doubted")

    def identity(self, partition: int) -> str:
        """The id of the log that the partition belongs to."""
        return self._in(partition, "id")

    def photo(self, partition: int, photo_id: str) -> str:
        return self._in(partition, f"photo:{photo_id}")

    def pipeline(self, partition: int) -> str:
        """The state of the controls."""
        return self._in(partition, "pipeline")

    def credential(self, partition: int, kind: str, digest: str) -> str:
        """A browser's session or a sign-in ticket, by the SHA-256 of its secret."""
        return self._in(partition, f"{kind}:{digest}")

    def credentials(self, partition: int, kind: str, client_id: str) -> str:
        """The sessions or tickets of a client."""
        return self._in(partition, f"{kind}s:{client_id}")

    def timers(self, partition: int) -> str:
        return self._in(partition, "timers")

    def foreign(self, partition: int) -> str:
        """The position of the last foreign entry that was found."""
        return self._in(partition, "foreign")

    def damaged(self, partition: int) -> str:
        """Stored files that were found missing or altered; see ``store.blobs.damaged``."""
        return self._in(partition, "damaged")

    def failing(self, partition: int) -> str:
        """The processes with a recently failed task."""
        return self._in(partition, "failing")

    def unconfined(self, partition: int) -> str:
        """The sandbox parts that decoders lack, scored by when a worker last reported them."""
        return self._in(partition, "unconfined")

    def undecoding(self, partition: int) -> str:
        """The workers that cannot start decoders, with the reason, scored by the last report."""
        return self._in(partition, "undecoding")

    def following(self, partition: int) -> str:
        """The version of the controls that each worker follows, scored by its last report."""
        return self._in(partition, "following")

    def losses(self, partition: int) -> str:
        """Notes that tasks may be missing; see ``store.queue.losses``."""
        return self._in(partition, "losses")

    def stages(self, partition: int) -> str:
        """The stages that workers run; see ``store.queue.known_stages``."""
        return self._in(partition, "stages")

    def running(self, partition: int, consumer: str) -> str:
        """When the tasks that a worker runs began."""
        return self._in(partition, f"running:{consumer}")

    def settled(self, partition: int) -> str:
        """Written only to wait for it."""
        return self._in(partition, "settled")

    def bucket(self, stage: str) -> str:
        """The rate limit of a stage, over all partitions."""
        return self._in(0, f"rate:{stage}")

    def allowance(self, partition: int, policy: str, subject: str) -> str:
        """The rest of a subject's rate limit; see ``store.clients.rate_limits``."""
        return self._in(partition, f"allowance:{policy}:{subject}")

    def key_use(self, partition: int, key_id: str) -> str:
        """When an API key was last used; see ``store.clients.key_uses``."""
        return self._in(partition, f"uses:{key_id}")

    def sign_out(self, partition: int, digest: str) -> str:
        """A sign-out at an OpenID provider; see ``store.clients.sign_outs``."""
        return self._in(partition, f"sign-out:{digest}")

    def webhooks(self, partition: int) -> str:
        """The role that delivers, and its report; see ``store.webhooks.lease``."""
        return self._in(partition, "webhooks")

    def webhook(self, partition: int, webhook_id: str) -> str:
        """How far a webhook has got; see ``store.webhooks.progress``."""
        return self._in(partition, f"webhook:{webhook_id}")

    def deliveries(self, partition: int, webhook_id: str) -> str:
        """The last deliveries of a webhook; see ``store.webhooks.progress``."""
        return self._in(partition, f"deliveries:{webhook_id}")

    def command(self, partition: int, client_id: str, key: str) -> str:
        return self._in(partition, f"command:{client_id}:{key}")

    def sha256(self, partition: int, client_id: str) -> str:
        """The root of a client's content hashes; see ``store.log.content_hashes``."""
        return self._in(partition, f"sha256:{client_id}")

    def hashes(self, partition: int, client_id: str, bucket: int) -> str:
        """A bucket of a client's content hashes."""
        return self._in(partition, f"hashes:{client_id}:{bucket:03x}")

    def refolded(self, partition: int, client_id: str, token: str) -> str:
        """A client's content hashes while they are folded again."""
        return self._in(partition, f"refolded:{token}:{client_id}")

    def upload_session(self, partition: int, client_id: str, session_id: str) -> str:
        """The state of a client's upload session."""
        return self._in(partition, f"upload-session:{client_id}:{session_id}")

    def usage(self, partition: int, client_id: str) -> str:
        """The client's usage, which quotas limit."""
        return self._in(partition, f"usage:{client_id}")

    def commands(self, partition: int, client_id: str) -> str:
        """The client's idempotency keys, scored by expiry."""
        return self._in(partition, f"commands:{client_id}")

    def clients(self, partition: int) -> str:
        return self._in(partition, "clients")

    def lane(self, partition: int, stage: str, lane: str) -> str:
        return self._in(partition, f"stage:{stage}:{lane}")

    @staticmethod
    def lane_of(key: str) -> str:
        """Return which lane of its stage the key of a lane names."""
        return key.rpartition(":")[2]

    def turns(self, partition: int, stage: str, lane: str) -> str:
        """The clients that wait in a lane."""
        return self._in(partition, f"turns:{stage}:{lane}")

    def waiting(self, partition: int, stage: str, lane: str) -> str:
        """The waiting tasks of a lane, by client."""
        return self._in(partition, f"waiting:{stage}:{lane}")

    def accounts(self, partition: int, lane: str) -> str:
        """The service that clients have received in a class of lanes."""
        return self._in(partition, f"accounts:{lane}")

    def lanes(
        self, partition: int, stages: tuple[str, ...], lanes: tuple[str, ...] = LANES
    ) -> list[tuple[str, str]]:
        """Return ``(key, stage)`` in the order of service: the first lanes of all stages first."""
        return [(self.lane(partition, stage, lane), stage) for lane in lanes for stage in stages]

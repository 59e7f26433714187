"""Quotas: the most that one client may have.

The defaults are settings. An operator can override them for one client by command.
"""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from domain.rejections import TooManyQuotas
from domain.system_events import SystemData

MOST_CLIENTS = 1_000
"""The most clients with their own quota: all are part of one state that every process reads."""

MOST = 2**53 - 1
"""The largest limit: numbers above it are not exact in JSON and in Redis scripts."""

Most = Annotated[int, Meta(ge=0, le=MOST)]

JOB_BYTES = 10_000_000
"""The most bytes that one job writes with the default recipe.

The content of a picture is unknown when it is uploaded, so this assumes the worst case: noise with
transparency took 2.2 bytes a pixel as WebP at quality 80, and squares of 1920, 600, 300 and 150
pixels together have 4.1 million pixels, which makes 9.1 MB.
"""


class Quota(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The limits of one client; 0 means no limit.

    ``bytes`` counts originals and renditions, including superseded ones until they are removed.
    ``jobs`` counts jobs that have not ended, except backfills. Until it ends, each of them reserves
    ``job_bytes`` of ``bytes`` for the renditions it may write. ``uploads`` counts the open uploads
    in one gateway. ``idempotency_keys`` counts the keys of the last 24 hours.
    """

    photos: Most = 0
    bytes: Most = 0
    jobs: Most = 0
    uploads: Most = 0
    idempotency_keys: Most = 0
    job_bytes: Most = 0


NO_QUOTA = Quota()


class OwnQuota(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The overrides that an operator has set for one client; None means the default, 0 no limit."""

    photos: Most | None = None
    bytes: Most | None = None
    jobs: Most | None = None
    uploads: Most | None = None
    idempotency_keys: Most | None = None

    def over(self, defaults: Quota) -> Quota:
        """Return the limits that apply to the client."""
        given = {
            name: most for name, most in msgspec.structs.asdict(self).items() if most is not None
        }
        return msgspec.structs.replace(defaults, **given)


DEFAULTS = OwnQuota()


class QuotaChanged(SystemData, frozen=True, kw_only=True, omit_defaults=True):
    """An operator has set the client's overrides to ``quota``."""

    TYPE: ClassVar[str] = "client.quota.changed"

    client_id: str
    quota: OwnQuota
    reason: str = ""


QuotaEvent = QuotaChanged


class ChangeQuota(msgspec.Struct, frozen=True, kw_only=True):
    """Set the client's own quota; ``DEFAULTS`` removes it."""

    client_id: str
    quota: OwnQuota
    reason: str = ""


Quotas = dict[str, OwnQuota]
"""The clients' own quotas, by client id."""


def decide(command: ChangeQuota, quotas: Quotas) -> tuple[QuotaChanged, ...]:
    """Return the events that ``command`` leads to; the empty tuple means "already so".

    Raises:
        TooManyQuotas: ``MOST_CLIENTS`` other clients have their own quota.
    """
    if quotas.get(command.client_id, DEFAULTS) == command.quota:
        return ()
    if command.client_id not in quotas and len(quotas) >= MOST_CLIENTS:
        raise TooManyQuotas(
            f"{MOST_CLIENTS:,} clients already have their own quota, which is the maximum.",
            advice="Reset the quota of a client that no longer needs it, or change the defaults.",
        )
    return (QuotaChanged(client_id=command.client_id, quota=command.quota, reason=command.reason),)


def evolve(quotas: Quotas, event: QuotaChanged) -> Quotas:
    """Return the quotas after ``event``; a client with the defaults has no entry."""
    others = {client: quota for client, quota in quotas.items() if client != event.client_id}
    return others if event.quota == DEFAULTS else {**others, event.client_id: event.quota}

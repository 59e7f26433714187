"""Quotas: the most that one client may have. Operators change those of a client by command.

Every client has the default quota, which is a setting, except for what an operator has set for it.
"""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from domain.pipeline.control_events import SystemData
from domain.rejections import TooManyQuotas

MOST_CLIENTS = 1_000
"""Clients with a quota of their own. All of them are part of one state that every process reads."""

MOST = 2**53 - 1
"""The largest limit: numbers above it are not exact in JSON and in the scripts of Redis."""

Most = Annotated[int, Meta(ge=0, le=MOST)]

JOB_BYTES = 10_000_000
"""The most that one job makes with the default recipe.

Nothing is known of a picture when it is uploaded, so this is for the worst one: noise with
transparency took 2.2 bytes a pixel as WebP of quality 80, and squares of 1920, 600, 300 and 150
pixels together have 4.1 million: 9.1 MB.
"""


class Quota(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The limits of one client; 0 means no limit.

    ``bytes`` counts originals and renditions, superseded ones included until they are removed.
    ``jobs`` counts jobs that have not ended, except those of a backfill. Each of them reserves
    ``job_bytes`` of ``bytes`` for the renditions it may make, until it ends. ``uploads`` counts
    open uploads in one gateway. ``idempotency_keys`` counts the keys of the last 24 hours.
    """

    photos: Most = 0
    bytes: Most = 0
    jobs: Most = 0
    uploads: Most = 0
    idempotency_keys: Most = 0
    job_bytes: Most = 0


NO_QUOTA = Quota()


class OwnQuota(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an operator has set for one client; None is the default, 0 no limit."""

    photos: Most | None = None
    bytes: Most | None = None
    jobs: Most | None = None
    uploads: Most | None = None
    idempotency_keys: Most | None = None

    def over(self, defaults: Quota) -> Quota:
        """The limits that apply to the client."""
        given = {
            name: most for name, most in msgspec.structs.asdict(self).items() if most is not None
        }
        return msgspec.structs.replace(defaults, **given)


DEFAULTS = OwnQuota()


class QuotaChanged(SystemData, frozen=True, kw_only=True):
    """``quota`` is now what applies to the client in place of the defaults."""

    TYPE: ClassVar[str] = "client.quota.changed"

    client_id: str
    quota: OwnQuota


QuotaEvent = QuotaChanged


class ChangeQuota(msgspec.Struct, frozen=True, kw_only=True):
    """Set the client's own quota; ``DEFAULTS`` takes it away."""

    client_id: str
    quota: OwnQuota


Quotas = dict[str, OwnQuota]
"""By client."""


def decide(command: ChangeQuota, quotas: Quotas) -> tuple[QuotaChanged, ...]:
    """The events that the command leads to; the empty tuple means "already so".

    Raises:
        TooManyQuotas: ``MOST_CLIENTS`` other clients have a quota of their own.
    """
    if quotas.get(command.client_id, DEFAULTS) == command.quota:
        return ()
    if command.client_id not in quotas and len(quotas) >= MOST_CLIENTS:
        raise TooManyQuotas(
            f"{MOST_CLIENTS:,} clients have a quota of their own, which is the most there can be.",
            advice="Reset the quota of a client that no longer needs it, or change the defaults.",
        )
    return (QuotaChanged(client_id=command.client_id, quota=command.quota),)


def evolve(quotas: Quotas, event: QuotaChanged) -> Quotas:
    """The quotas after ``event``; a client with the defaults takes no room."""
    others = {client: quota for client, quota in quotas.items() if client != event.client_id}
    return others if event.quota == DEFAULTS else {**others, event.client_id: event.quota}

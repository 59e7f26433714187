"""A revocation disables the webhooks that the revoked access has contributed to."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from domain.clients.revocations import AccessRevoked
from domain.webhooks.webhooks import Contributor, Webhook, Webhooks


def after_revocation(webhooks: Webhooks, event: AccessRevoked, at: datetime) -> Webhooks:
    """Return the webhooks after a revocation, which disables those that the access contributed to.

    A revocation of a client, or of everyone, covers what was done up to its time, and the webhooks
    of that client that were created or enabled up to then.
    """
    before = datetime.fromisoformat(event.before) if event.before is not None else at

    def is_of(author: Contributor) -> bool:
        if event.token_id is not None:
            return author.token_id == event.token_id
        return author.at <= before and event.client_id in (None, author.client_id)

    def is_covered(webhook: Webhook) -> bool:
        if event.token_id is not None:
            return False
        since = max(webhook.created_at, webhook.retried_since)
        return since <= before and event.client_id in (None, webhook.client_id)

    return _disabled(webhooks, is_covered, is_of, at)


def after_token(webhooks: Webhooks, token_id: str, at: datetime) -> Webhooks:
    """Return the webhooks after the token or key of that id has ended by an operator's command."""
    return _disabled(webhooks, lambda _: False, lambda author: author.token_id == token_id, at)


def disabled_since(before: Webhooks, now: Webhooks) -> tuple[str, ...]:
    """Return the ids of the webhooks that a revocation between ``before`` and ``now`` disabled."""

    def is_disabled(webhook: Webhook | None) -> bool:
        return webhook is not None and webhook.disabled == "access-revoked"

    names = (name for name in now if is_disabled(now[name]) and not is_disabled(before.get(name)))
    return tuple(sorted(names))


def _disabled(
    webhooks: Webhooks,
    is_covered: Callable[[Webhook], bool],
    is_of: Callable[[Contributor], bool],
    at: datetime,
) -> Webhooks:
    """Disable the webhooks that are covered, or have a contributor that is.

    One that is disabled already says from then on that access was revoked, so that nobody enables
    it unaware; the reason for which it was disabled before does not fit any more. The contributor
    is forgotten: whoever enables the webhook answers for it.
    """
    found = dict(webhooks)
    for name, each in webhooks.items():
        kept = tuple(author for author in each.contributors if not is_of(author))
        if kept == each.contributors and not is_covered(each):
            continue
        found[name] = msgspec.structs.replace(
            each,
            disabled="access-revoked",
            disabled_at=each.disabled_at or at,
            reason="",
            contributors=kept,
        )
    return found

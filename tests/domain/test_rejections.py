"""Every rejection says what is wrong and what to do, and repeats little of what it was given."""

from datetime import UTC, datetime
from typing import Any

import pytest

from domain.clients.api_keys import (
    MOST_KEYS,
    ApiKey,
    ApiKeys,
    CreateApiKey,
    RevokeApiKey,
)
from domain.clients.quotas import MOST_CLIENTS, ChangeQuota, OwnQuota
from domain.clients.revocations import MOST_TOKENS, Revocations, RevokeAccess
from domain.pipeline.control import (
    ControlCommand,
    Controls,
    LimitStage,
    PauseStage,
    RecordCancelled,
    ResumeStage,
    decide,
)
from domain.pipeline.control_events import Limit, Rate
from domain.pipeline.stages import PIPELINES, SHOWN, TREE, check
from domain.rejections import InvalidPriority, Rejected, UnknownPipeline, UnknownStage
from domain.webhooks.webhooks import MOST_WEBHOOKS, Author, CreateWebhook, DeleteWebhook, Webhook
from tests.domain.stories import assert_readable

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
LATER = datetime(2026, 11, 23, 11, tzinfo=UTC)


def key(**given: Any) -> CreateApiKey:
    wish: dict[str, Any] = {
        "now": LATER,
        "key_id": "a",
        "name": "one more",
        "digest": "d",
        "scopes": frozenset({"ops.read"}),
    }
    return CreateApiKey(**{**wish, **given})


def webhook(**given: Any) -> CreateWebhook:
    wish: dict[str, Any] = {
        "url": "https://example.com/",
        "types": (),
        "known_types": frozenset({"photo.deleted"}),
        "system_types": frozenset[str](),
        "description": "",
        "client_id": "alice",
        "after": ("0:0-0",),
        "secret_id": "s",
        "digest": "d",
        "by": Author(token_id=None, client_id=None),
        "most": 1_000,
        "in_all": MOST_WEBHOOKS,
        "private": (),
    }
    return CreateWebhook(webhook_id="one more", **{**wish, **given})


FULL = Controls(
    webhooks={
        str(number): Webhook(
            url="https://example.com/",
            types=(),
            description="",
            client_id="alice",
            created_at=NOW,
            retried_since=NOW,
            secrets=(),
            contributors=(),
            starts=(),
        )
        for number in range(MOST_WEBHOOKS)
    },
    api_keys=ApiKeys(
        active={
            str(number): ApiKey(name="k", digest="d", scopes=("ops.read",), created_at=NOW)
            for number in range(MOST_KEYS)
        }
    ),
    all_paused=True,
    quotas={str(number): OwnQuota(photos=5) for number in range(MOST_CLIENTS)},
    revocations=Revocations(
        tokens=dict.fromkeys(map(str, range(MOST_TOKENS)), NOW),
        clients=dict.fromkeys(map(str, range(MOST_TOKENS)), NOW),
    ),
)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (PauseStage(stage="faces"), "'faces'"),
        (ResumeStage(stage="faces"), "'faces'"),
        (RecordCancelled(stage="erasure", tasks=1, reason="why"), "'erasure'"),
        (LimitStage(stage="faces", limit=Limit()), "'faces'"),
        (LimitStage(stage=None, limit=Limit(rate=Rate(max=1))), "single stage"),
        (ResumeStage(stage="metadata"), "metadata"),
        (ChangeQuota(client_id="one more", quota=OwnQuota(photos=1)), "1,000 clients"),
        (RevokeApiKey(key_id="unknown"), "'unknown'"),
        (key(scopes=frozenset({"ops.read"}), client_id="alice"), "'ops.read'"),
        (key(scopes=frozenset({"photos.read"})), "'photos.read'"),
        (key(scopes=frozenset()), "a scope"),
        (key(name=" x"), "printable"),
        (key(expires_at=NOW), "past"),
        (key(), "1,000 API keys"),
        (webhook(), "500 webhooks"),
        (webhook(most=1), "Client alice"),
        (webhook(client_id=None, most=0), "The system"),
        (webhook(url="ftp://example.com"), "https://"),
        (webhook(types=("photo.eaten",)), "'photo.eaten'"),
        (webhook(description="x" * 101), "100"),
        (DeleteWebhook(webhook_id="unknown"), "'unknown'"),
        (RevokeAccess(now=LATER, token_id="another"), "1,000 tokens"),
        (RevokeAccess(now=LATER, client_id="another"), "1,000 clients"),
    ],
)
def test_a_rejected_control_is_explained(command: ControlCommand, named: str) -> None:
    with pytest.raises(Rejected) as caught:
        decide(command, FULL)

    assert_readable(caught.value)
    assert named in caught.value.message
    assert type(caught.value).code == caught.value.code != Rejected.code


def test_an_unknown_pipeline_or_stage_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownPipeline, match="'x'") as pipeline:
        check("x", 5)
    with pytest.raises(UnknownStage) as stage:
        decide(PauseStage(stage="x"), Controls())

    assert pipeline.value.advice == f"Choose one of {', '.join(PIPELINES)}."
    assert stage.value.advice == f"Choose one of {', '.join((*TREE, 'erasure'))}."
    for each in (pipeline.value, stage.value):
        assert_readable(each)


def test_a_long_value_is_repeated_only_in_part() -> None:
    long = "x" * (SHOWN + 1)
    with pytest.raises(UnknownPipeline) as pipeline:
        check(long, 5)
    with pytest.raises(UnknownStage) as stage:
        decide(PauseStage(stage=long), Controls())
    with pytest.raises(InvalidPriority) as priority:
        check("full_processing", int("7" * (SHOWN + 1)))

    for each in (pipeline.value, stage.value):
        assert f"'{'x' * SHOWN}'" in each.message
    assert f"(got {'7' * SHOWN})" in priority.value.message
    assert_readable(priority.value)


def test_a_rejection_carries_its_message_advice_and_time() -> None:
    plain = Rejected("No.")
    timed = Rejected("No.", advice="Wait.", retry_after_s=2.5)

    assert (str(plain), plain.message, plain.advice, plain.retry_after_s) == (
        "No.",
        "No.",
        "",
        None,
    )
    assert (timed.advice, timed.retry_after_s) == ("Wait.", 2.5)

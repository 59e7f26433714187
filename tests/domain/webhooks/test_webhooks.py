"""Webhooks as rules: who may have how many, which addresses, and what ends them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.clients.api_keys import ApiKeyRevoked
from domain.clients.revocations import AccessRevoked
from domain.moments import iso
from domain.pipeline import control
from domain.pipeline.control import Controls
from domain.rejections import InvalidWebhook, TooManyWebhooks, WebhookNotFound
from domain.webhooks.addresses import parse_networks
from domain.webhooks.revocations import disabled_since
from domain.webhooks.urls import check_url
from domain.webhooks.webhooks import (
    MOST_CONTRIBUTORS,
    MOST_OF_CLIENTS,
    MOST_WEBHOOKS,
    AnyWebhookCommand,
    Author,
    ChangeWebhook,
    CreateWebhook,
    DeleteWebhook,
    DisableWebhook,
    EnableWebhook,
    ReplayWebhook,
    RotateWebhookSecret,
    Start,
    Webhooks,
    decide,
    evolve,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TYPES = frozenset({"photo.uploaded", "photo.deleted", "pipeline.paused"})
SYSTEM_TYPES = frozenset({"pipeline.paused"})
URL = "https://example.com/hook"


def by(token_id: str | None, client_id: str | None = "alice") -> Author:
    return Author(token_id=token_id, client_id=client_id)


NOBODY = by(None, None)


def create(name: str = "w", **more: Any) -> CreateWebhook:
    wish: dict[str, Any] = {
        "url": URL,
        "types": (),
        "known_types": TYPES,
        "system_types": SYSTEM_TYPES,
        "description": "",
        "client_id": "alice",
        "after": ("0:5-0",),
        "secret_id": "s1",
        "digest": "d1",
        "by": by("tok"),
        "most": 2,
        "in_all": MOST_WEBHOOKS,
        "private": (),
    }
    return CreateWebhook(webhook_id=name, **{**wish, **more})


def given(*commands: AnyWebhookCommand, webhooks: Webhooks | None = None) -> Webhooks:
    found = webhooks or {}
    for number, command in enumerate(commands):
        for event in decide(command, found):
            found = evolve(found, event, NOON + number * HOUR)
    return found


def change(**more: Any) -> ChangeWebhook:
    wish: dict[str, Any] = {
        "url": URL,
        "types": (),
        "known_types": TYPES,
        "system_types": SYSTEM_TYPES,
        "description": "",
        "private": (),
        "by": by("tok"),
    }
    return ChangeWebhook(webhook_id="w", **{**wish, **more})


def test_a_webhook_gets_the_events_of_its_client_and_types() -> None:
    everything = given(create(client_id=None))["w"]
    own = given(create(types=("photo.deleted", "photo.deleted")))["w"]

    assert own.types == ("photo.deleted",)
    assert own.wants("photo.deleted", "alice")
    assert not own.wants("photo.uploaded", "alice")
    assert not own.wants("photo.deleted", "bob")
    assert everything.wants("pipeline.paused", "")


def test_a_client_has_a_bounded_number_and_others_are_not_affected() -> None:
    webhooks = given(create("a"), create("b"))

    with pytest.raises(TooManyWebhooks):
        decide(create("c"), webhooks)
    assert decide(create("c", client_id="bob"), webhooks)
    assert decide(create("c"), given(DeleteWebhook(webhook_id="a"), webhooks=webhooks))


def test_the_system_has_a_bounded_number_too() -> None:
    webhook = given(create())["w"]

    with pytest.raises(TooManyWebhooks):
        decide(create("x", client_id="bob"), dict.fromkeys(map(str, range(MOST_WEBHOOKS)), webhook))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://",
        "https:///path",
        "https://user:secret@example.com/",
        "https://example.com/#part",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://exämple.com/",
        "https://example.com/\r\nX: y",
        "https://[::1",
        "https://-example.com/",
        "//example.com/",
        "https://example.com/" + "a" * 1_000,
        "",
    ],
)
def test_unsuitable_addresses_are_rejected(url: str) -> None:
    with pytest.raises(InvalidWebhook):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "https://example.com:8443/a?b=c", "https://[2606:4700::1]/", URL],
)
def test_suitable_addresses_are_accepted(url: str) -> None:
    assert check_url(url).scheme == "https"


def test_plain_http_is_accepted_only_for_what_is_allowed() -> None:
    private = parse_networks("10.0.0.0/8, ::1")

    assert check_url("http://10.0.0.1/", private).hostname == "10.0.0.1"
    assert check_url("http://localhost/", private).hostname == "localhost"
    assert check_url("http://receiver.example/", private).scheme == "http"
    for url in ("http://11.0.0.1/", "http://8.8.8.8/", "https://192.168.0.1/"):
        with pytest.raises(InvalidWebhook):
            check_url(url, private)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "Photos.LocalHost.",
        "10.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",  # where it leads is what matters
        "[::1]",
        "[::ffff:10.0.0.1]",
        "[::10.0.0.1]",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ],
)
def test_a_private_address_is_rejected_however_it_is_written(host: str) -> None:
    with pytest.raises(InvalidWebhook, match="no public address"):
        check_url(f"https://{host}:8443/photolog")


def test_the_message_says_which_address_an_unusual_form_is() -> None:
    with pytest.raises(InvalidWebhook, match=r"0x7f\.1 \(127\.0\.0\.1\)"):
        check_url("https://0x7f.1/")


def test_a_changed_address_is_checked_like_a_new_one() -> None:
    webhooks = given(create())

    with pytest.raises(InvalidWebhook):
        decide(change(url="https://10.0.0.1/"), webhooks)
    assert decide(change(url="https://10.0.0.1/", private=parse_networks("10.0.0.1")), webhooks)


def test_unknown_types_and_unprintable_descriptions_are_rejected() -> None:
    with pytest.raises(InvalidWebhook, match=r"photo\.eaten"):
        decide(create(types=("photo.eaten",)), {})
    with pytest.raises(InvalidWebhook):
        decide(create(description="a\x1b[2J"), {})
    with pytest.raises(InvalidWebhook):
        decide(change(description="a" * 101), given(create()))


def test_only_a_webhook_for_everyone_may_ask_for_events_of_the_system() -> None:
    of_system = ("photo.deleted", "pipeline.paused")
    everyone = given(create(client_id=None, types=of_system))

    assert everyone["w"].types == of_system
    assert decide(change(types=("pipeline.paused",)), everyone)
    for command, webhooks in (
        (create(types=of_system), {}),
        (change(types=of_system), given(create())),
    ):
        with pytest.raises(InvalidWebhook, match=r"pipeline\.paused"):
            decide(command, webhooks)


def test_the_advice_lists_the_types_that_the_webhook_can_have() -> None:
    def advice(client_id: str | None) -> str:
        with pytest.raises(InvalidWebhook) as rejected:
            decide(create(types=("photo.eaten",), client_id=client_id), {})
        return rejected.value.advice

    assert "pipeline.paused" in advice(None)
    assert "pipeline.paused" not in advice("alice")
    assert "photo.deleted" in advice("alice")


def test_repeated_commands_record_nothing() -> None:
    disable, enable = DisableWebhook(webhook_id="w"), EnableWebhook(webhook_id="w", by=by("t"))
    webhooks = given(create())

    assert decide(create(), webhooks) == ()
    assert decide(change(), webhooks) == ()
    assert decide(enable, webhooks) == ()
    assert decide(disable, given(disable, webhooks=webhooks)) == ()


@pytest.mark.parametrize(
    "command",
    [change(), DisableWebhook(webhook_id="w"), ReplayWebhook(webhook_id="w", after=(), by=NOBODY)],
)
def test_a_webhook_that_was_deleted_does_not_exist(command: AnyWebhookCommand) -> None:
    with pytest.raises(WebhookNotFound):
        decide(command, given(create(), DeleteWebhook(webhook_id="w")))


def test_both_secrets_sign_until_the_overlap_ends() -> None:
    until = NOON + 3 * HOUR
    rotate = RotateWebhookSecret(
        webhook_id="w", secret_id="s2", digest="d2", previous_until=until, by=by("tok")
    )
    webhook = given(create(), rotate)["w"]

    assert [each.id for each in webhook.signing(NOON + HOUR)] == ["s2", "s1"]
    assert [each.id for each in webhook.signing(until)] == ["s2"]


def test_a_replay_begins_again_only_in_the_partitions_that_it_names() -> None:
    replay = ReplayWebhook(webhook_id="w", after=("1:3-0",), by=NOBODY)
    webhook = given(create(after=("0:5-0", "1:5-0"), client_id=None), replay)["w"]

    assert webhook.starts == (Start(after="0:5-0"), Start(after="1:3-0", replays=1))


def after(event: Any, webhooks: Webhooks, at: datetime = NOON + HOUR) -> list[str]:
    """Return the webhooks that are disabled after the event."""
    controls = control.evolve(Controls(webhooks=webhooks), event, at)
    causes = {name: each.disabled for name, each in controls.webhooks.items()}
    assert set(causes.values()) <= {None, "access-revoked"}
    return [name for name, cause in causes.items() if cause is not None]


def test_a_revocation_disables_what_the_access_has_created() -> None:
    key = create("key", client_id="bob", by=by("key-k1", "bob"))
    webhooks = given(create("own"), key, create("system", client_id=None, by=NOBODY))

    assert after(AccessRevoked(token_id="tok"), webhooks) == ["own"]
    assert after(ApiKeyRevoked(key_id="k1", name="k"), webhooks) == ["key"]
    late = NOON + 5 * HOUR
    assert after(AccessRevoked(client_id="bob", before=iso(late)), webhooks, late) == ["key"]
    assert after(AccessRevoked(client_id="bob", before=iso(NOON - HOUR)), webhooks, late) == []
    everyone = AccessRevoked(before=iso(late))
    assert after(everyone, webhooks, late) == ["own", "key", "system"]


def test_a_revocation_leaves_no_other_reason_why_a_webhook_is_disabled() -> None:
    gone = DisableWebhook(webhook_id="w", cause="gone", reason="The receiver answered 410.")
    webhooks = given(create(), gone)
    revoked = control.evolve(Controls(webhooks=webhooks), AccessRevoked(token_id="tok"), NOON)

    webhook = revoked.webhooks["w"]
    assert (webhook.disabled, webhook.reason) == ("access-revoked", "")
    assert webhook.disabled_at == webhooks["w"].disabled_at


def rotate(author: Author, secret: str = "s2") -> RotateWebhookSecret:
    until = NOON + 3 * HOUR
    return RotateWebhookSecret(
        webhook_id="w", secret_id=secret, digest="d2", previous_until=until, by=author
    )


THIEF = by("key-k1", "mallory")

CONTRIBUTIONS: list[tuple[AnyWebhookCommand, ...]] = [
    (change(url=f"{URL}/theirs", by=THIEF),),
    (rotate(THIEF),),
    (ReplayWebhook(webhook_id="w", after=("0:1-0",), by=THIEF),),
    (DisableWebhook(webhook_id="w"), EnableWebhook(webhook_id="w", by=THIEF)),
]


@pytest.mark.parametrize("client_id", ["alice", None], ids=["client", "system"])
@pytest.mark.parametrize("commands", CONTRIBUTIONS, ids=lambda each: type(each[-1]).__name__)
def test_revoking_access_disables_every_webhook_that_it_contributed_to(
    commands: tuple[AnyWebhookCommand, ...], client_id: str | None
) -> None:
    later = change(url=f"{URL}/mine", by=by("other"))
    webhooks = given(create(client_id=client_id), create("other"), *commands, later)
    late = NOON + 9 * HOUR

    for event in (
        ApiKeyRevoked(key_id="k1", name="k"),
        AccessRevoked(token_id="key-k1"),
        AccessRevoked(client_id="mallory", before=iso(late)),
    ):
        assert after(event, webhooks, late) == ["w"], event
    assert after(AccessRevoked(token_id="key-k2"), webhooks, late) == []
    assert after(AccessRevoked(client_id="mallory", before=iso(NOON)), webhooks, late) == []


def test_a_webhook_that_was_disabled_before_a_revocation_is_not_enabled_unaware() -> None:
    commands = change(url=f"{URL}/theirs", by=THIEF), DisableWebhook(webhook_id="w")

    assert after(ApiKeyRevoked(key_id="k1", name="k"), given(create(), *commands)) == ["w"]


def test_the_last_contributors_of_many_are_remembered() -> None:
    changes = [
        change(description=str(number), by=by(f"t{number}")) for number in range(MOST_CONTRIBUTORS)
    ]
    again = change(description="again", by=by("t0"))
    webhooks = given(create(by=by("first")), *changes, again)

    assert len(webhooks["w"].contributors) == MOST_CONTRIBUTORS
    assert after(AccessRevoked(token_id="t0"), webhooks) == ["w"]
    assert after(AccessRevoked(token_id="first"), webhooks) == []


def test_a_revocation_names_the_webhooks_that_it_disables() -> None:
    earlier = given(create(), create("other", by=by("tok-2")), create("third", client_id="bob"))
    revoked = control.evolve(Controls(webhooks=earlier), AccessRevoked(token_id="tok"), NOON)

    assert disabled_since(earlier, revoked.webhooks) == ("third", "w")
    assert disabled_since(revoked.webhooks, revoked.webhooks) == ()


def test_enabling_after_a_revocation_is_the_deed_of_another_access() -> None:
    revoked = AccessRevoked(token_id="tok")
    controls = control.evolve(Controls(webhooks=given(create())), revoked, NOON + HOUR)
    enable = EnableWebhook(webhook_id="w", by=by("other"))
    webhooks = given(enable, webhooks=controls.webhooks)

    assert webhooks["w"].disabled is None
    assert after(revoked, webhooks) == []


def test_clients_leave_some_webhooks_to_operators() -> None:
    taken = {str(number): given(create())["w"] for number in range(MOST_OF_CLIENTS)}

    with pytest.raises(TooManyWebhooks):
        decide(create(client_id="bob", in_all=MOST_OF_CLIENTS), taken)
    assert decide(create(client_id=None, most=MOST_WEBHOOKS), taken)
    assert decide(create(client_id="bob", in_all=MOST_WEBHOOKS), taken)


def test_the_advice_for_a_plain_url_names_the_setting_that_allows_it() -> None:
    with pytest.raises(InvalidWebhook) as error:
        check_url("http://127.0.0.1/")
    assert "PHOTOLOG_WEBHOOK_PRIVATE_ADDRESSES" in error.value.advice

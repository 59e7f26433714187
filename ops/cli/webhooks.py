"""``photolog webhooks``: list, create, rotate, enable, disable, replay, delete, deliver."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import click
import msgspec

from ops.cli.confirm import confirm, yes_option
from ops.cli.options import (
    WithDefault,
    config_option,
    data_option,
    name_option,
    quiet_option,
    reason_option,
    with_settings,
)
from ops.cli.server import as_operator, as_operator_of_clients
from ops.client.client import Server, connected
from ops.client.operations import Operations
from ops.client.text_table import console, moment, table
from ops.client.webhooks import DeliveryLine, WebhookLine, WebhookOperations
from ops.config.loading import Loaded
from ops.event_format import say, say_json

T = TypeVar("T")

HEADINGS = ("Webhook", "State", "URL", "For", "Types", "Waiting since (UTC)", "Why")

DELIVERY_HEADINGS = (
    *("Time (UTC)", "Event", "Position", "Try", "Outcome", "ms", "Next try (UTC)", "Answer"),
)


def _ask(server: Server, work: Callable[[WebhookOperations], Awaitable[T]]) -> T:
    async def run() -> T:
        async with connected(server.url, server.token) as client:
            return await work(WebhookOperations(Operations(client)))

    return anyio.run(run)


@click.group(cls=WithDefault)
@config_option
@data_option
def command() -> None:
    """List, create and change webhooks, which send events to a URL as they happen.

    Without a command: list.
    """


@command.command("list")
@click.option("--client", "client_id", metavar="ID", help="Only those of this client.")
@click.option("--json", "as_json", is_flag=True, help="Print each as one line of JSON.")
@as_operator_of_clients
def show(server: Server, client_id: str | None, as_json: bool) -> None:
    """List the webhooks, and how each is doing."""
    found = _ask(server, lambda webhooks: webhooks.webhooks(client_id))
    if as_json:
        for each in found:
            say_json(msgspec.json.encode(each))
    elif not found:
        say("There are no webhooks.")
    else:
        console().print(table(HEADINGS, [_row(each) for each in found]))


def _row(webhook: WebhookLine) -> tuple[str | None, ...]:
    whose = "everyone" if webhook.client_id is None else f"client {webhook.client_id}"
    types = " ".join(webhook.types) or "all types"
    state = webhook.state
    if webhook.disabled_cause is not None:
        state = f"{state} ({webhook.disabled_cause})"
    elif webhook.failing_since is not None:
        state = f"{state} since {moment(webhook.failing_since)}"
    return (
        *(webhook.id, state, webhook.url, whose, types),
        *(moment(webhook.waiting_since), _why(webhook)),
    )


def _why(webhook: WebhookLine) -> str | None:
    if webhook.state == "unsigned":
        return "the secret was made with another webhook key: restore the key, or rotate the secret"
    return webhook.disabled_reason or webhook.failing_reason


@command.command()
@click.argument("address", metavar="URL")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    help="Type of events, such as photo.processing.completed. May be repeated. Default: all.",
)
@click.option("--client", "client_id", metavar="ID", help="Client whose events to send.")
@click.option("--description", default="", metavar="TEXT", help="What the webhook is for.")
@click.option(
    "--after", metavar="POSITION", help="Begin after this event. Default: with the next one."
)
@as_operator_of_clients
def create(
    server: Server,
    address: str,
    types: tuple[str, ...],
    client_id: str | None,
    description: str,
    after: str | None,
) -> None:
    """Send events to URL, and print the id of the webhook and its secret.

    Without --client, it gets the events of everyone. The secret is shown only now.
    """
    wish = {
        "url": address,
        "types": types,
        "clientId": client_id,
        "description": description,
        "after": after,
    }
    webhook_id, secret = _ask(server, lambda webhooks: webhooks.create(wish))
    say(f"{webhook_id}  {secret}")


@command.command()
@click.argument("webhook_id")
@as_operator
def rotate(server: Server, webhook_id: str) -> None:
    """Print a new secret. The one before signs as well for a while."""
    say(_ask(server, lambda webhooks: webhooks.rotate(webhook_id)))


@command.command()
@click.argument("webhook_id")
@reason_option
@as_operator
def enable(server: Server, webhook_id: str, reason: str | None) -> None:
    """Continue where a disabled webhook stopped."""
    _ask(server, lambda webhooks: webhooks.enable(webhook_id, reason))
    say("Enabled: everything since it was disabled is sent.")


@command.command()
@click.argument("webhook_id")
@reason_option
@as_operator
def disable(server: Server, webhook_id: str, reason: str | None) -> None:
    """Send nothing to a webhook until it is enabled."""
    _ask(server, lambda webhooks: webhooks.disable(webhook_id, reason))
    say("Disabled.")


@command.command()
@click.argument("webhook_id")
@click.argument("after", metavar="POSITION")
@reason_option
@as_operator
def replay(server: Server, webhook_id: str, after: str, reason: str | None) -> None:
    """Continue after POSITION, an event that the webhook gets, or 0:0-0 for the beginning.

    A later position than that of the webhook leaves out what lies between.
    """
    _ask(server, lambda webhooks: webhooks.replay(webhook_id, after, reason))
    say("The events after this position are sent.")


@command.command()
@click.argument("webhook_id")
@reason_option
@yes_option
@as_operator
def delete(server: Server, webhook_id: str, reason: str | None, yes: bool) -> None:
    """Delete a webhook and its list of deliveries, for good. Asks first."""
    confirm(f"Delete webhook {webhook_id} and its list of deliveries?", yes=yes)
    _ask(server, lambda webhooks: webhooks.delete(webhook_id, reason))
    say("Deleted.")


@command.command()
@click.argument("webhook_id")
@click.option("--limit", default=20, show_default=True, metavar="N", help="At most 200.")
@click.option("--json", "as_json", is_flag=True, help="Print each as one line of JSON.")
@as_operator
def deliveries(server: Server, webhook_id: str, limit: int, as_json: bool) -> None:
    """List the last attempts of a webhook, the newest first, with their answers."""
    found = _ask(server, lambda webhooks: webhooks.deliveries(webhook_id, limit))
    if as_json:
        for each in found:
            say_json(msgspec.json.encode(each))
    elif not found:
        say("There were no attempts in the last 30 days.")
    else:
        console().print(table(DELIVERY_HEADINGS, [_delivery(each) for each in found]))


def _delivery(each: DeliveryLine) -> tuple[str | int | None, ...]:
    outcome = each.outcome if each.status is None else f"{each.outcome} {each.status}"
    return (
        *(moment(each.time), each.type, each.position, each.attempt, outcome, each.duration_ms),
        *(moment(each.next_attempt_at), each.answer[:80] or None),
    )


@command.command()
@name_option
@quiet_option
@with_settings()
def deliver(loaded: Loaded, name: str | None, quiet: bool) -> None:
    """Run the process that delivers webhooks, as `photolog up` does.

    It reads the read model of its data folder, so a projector must run there. Of several such
    processes one delivers, and another takes over within seconds if it ends.
    """
    from ops.runtime import roles  # noqa: PLC0415 # not for the other commands
    from ops.telemetry import logs  # noqa: PLC0415

    name = name or roles.standalone_name("webhooks")
    logs.configure(loaded.settings, name, quiet=quiet)
    roles.run(roles.webhooks(loaded.settings, name=name))

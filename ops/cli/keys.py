"""``photolog keys``: list, create, revoke."""

from datetime import UTC, datetime, timedelta

import anyio
import click
import msgspec

from gateway.http.auth import CLIENT_ID
from ops.cli.options import WithDefault, config_option, data_option
from ops.cli.server import as_operator, as_operator_of_clients
from ops.cli.tokens import tell_disabled
from ops.client.client import Server, connected
from ops.client.ended_keys import EndedKey, ended_keys
from ops.client.operations import KeyLine, Operations
from ops.client.text_table import console, moment, table
from ops.event_format import say, say_json
from ops.runtime.tokens import parse_ttl

HEADINGS = ("Key", "Name", "For", "Last used (UTC)", "Ends", "Scopes")


@click.group(cls=WithDefault)
@config_option
@data_option
def command() -> None:
    """List, create and revoke API keys for programs.

    Without a command: list.
    """


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also keys that were revoked or expired.")
@click.option("--client", "client_id", metavar="ID", help="Only those of this client.")
@click.option("--json", "as_json", is_flag=True, help="Print each as one line of JSON.")
@as_operator_of_clients
def show_keys(server: Server, everything: bool, client_id: str | None, as_json: bool) -> None:
    """List the keys in force: their scopes, and when each was last used.

    With --all, also those that have ended: when and by whom each was revoked, and why, and when it
    was last used.
    """

    async def run() -> tuple[list[KeyLine], list[EndedKey]]:
        async with connected(server.url, server.token) as client:
            operations = Operations(client)
            active = await operations.keys()
            ended = await ended_keys(operations, {x.id for x in active}) if everything else []
            return active, ended

    active, ended = anyio.run(run)
    if client_id is not None:
        active = [each for each in active if each.client_id == client_id]
        ended = [each for each in ended if each.client_id == client_id]
    if as_json:
        for each in (*active, *ended):
            say_json(msgspec.json.encode(each))
    elif not active and not ended:
        say("There are no API keys." if client_id is None else "There are no such API keys.")
    else:
        console().print(table(HEADINGS, [_row(each) for each in active] + _ended_rows(ended)))


def _row(key: KeyLine) -> tuple[str | None, ...]:
    used, expires = moment(key.last_used_at) or "never", moment(key.expires_at) or "never"
    return (key.id, key.name, _whose(key.client_id), used, expires, " ".join(key.scopes))


def _ended_rows(keys: list[EndedKey]) -> list[tuple[str | None, ...]]:
    return [
        (
            *(key.id, key.name, _whose(key.client_id)),
            *(moment(key.last_used_at), key.how, " ".join(key.scopes)),
        )
        for key in keys
    ]


def _whose(client_id: str | None) -> str:
    return "the system" if client_id is None else f"client {client_id}"


def _client_id(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    if text is not None and not CLIENT_ID.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} is not a valid client id: use 1 to 64 letters, digits and ._@-"
        )
    return text


@command.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    help="With --client: photos.read, photos.write, events.read, priority:high. Without: ops.read, "
    "ops.write, audit.read, events.read. May be repeated.",
)
@click.option(
    "--client",
    "client_id",
    metavar="ID",
    callback=_client_id,
    help="Client that the key acts for.",
)
@click.option(
    "--ttl", help="How long it is valid: 90d, 12h or 30m. Without it, until it is revoked."
)
@as_operator_of_clients
def create(
    server: Server, name: str, scopes: tuple[str, ...], client_id: str | None, ttl: str | None
) -> None:
    """Create a key for the program NAME, and print the key and nothing else.

    The key is shown only now: Photolog keeps its SHA-256. Every gateway accepts it within two
    seconds.
    """
    expires_at = None
    if ttl is not None:
        expires_at = (datetime.now(UTC) + timedelta(seconds=parse_ttl(ttl))).isoformat()
    wish = {"name": name, "scopes": scopes, "clientId": client_id, "expiresAt": expires_at}

    async def run() -> str:
        async with connected(server.url, server.token) as client:
            return await Operations(client).create_key(wish)

    say(anyio.run(run))


@command.command()
@click.argument("key_ids", nargs=-1, required=True, metavar="KEY_ID...")
@click.option("--reason", metavar="TEXT", help="Recorded with the revocation.")
@as_operator
def revoke(server: Server, key_ids: tuple[str, ...], reason: str | None) -> None:
    """Revoke keys by id, for good. You may give a whole key instead of its id.

    `photolog tokens revoke --client` also ends all keys of a client.
    """

    async def run() -> list[str]:
        async with connected(server.url, server.token) as client:
            operations = Operations(client)
            return [
                webhook
                for each in key_ids
                for webhook in await operations.revoke_key(_id_of(each), reason)
            ]

    disabled = anyio.run(run)
    say("Revoked. Every gateway knows within two seconds.")
    tell_disabled(disabled)


def _id_of(text: str) -> str:
    """Return the id in a key, and any other text as it is: the secret is not sent anywhere."""
    parts = text.split("_")
    return parts[1] if len(parts) == 3 and parts[0] == "plk" else text

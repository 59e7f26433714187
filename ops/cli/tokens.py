"""``photolog tokens``: revoke, list, show, keys, rotate."""

import re
import sys
import time
from datetime import UTC, datetime
from typing import Any

import anyio
import click
import jwt
import msgspec

from domain.clients.revocations import LONGEST_LIFE, is_outlived
from gateway.http.auth import TOKEN_ID_BYTES, Key
from ops.cli.confirm import confirm
from ops.cli.options import WithDefault, config_option, data_option, with_settings
from ops.cli.server import as_operator, as_operator_of_clients
from ops.client.client import Server, connected
from ops.client.operations import InForce, Operations, Revocation
from ops.client.text_table import console, moment, table
from ops.config.loading import Loaded
from ops.config.settings import Settings
from ops.errors import UserError
from ops.event_format import printable, say, say_json
from ops.runtime import signing_keys

_ID = re.compile(rf"[0-9a-f]{{{2 * TOKEN_ID_BYTES}}}")
"""The form of token ids; see ``gateway.http.auth``."""

SHOWN = 40

HEADINGS = ("Tokens", "Issued up to (UTC)", "Revoked (UTC)", "By", "Reason")


@click.group(cls=WithDefault)
@config_option
@data_option
def command() -> None:
    """List revocations; revoke tokens; change the key that signs them.

    Without a command: list.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print each as one line of JSON.")
@as_operator
def show_revocations(server: Server, as_json: bool) -> None:
    """List what was revoked, when, by whom and why; the newest first.

    A revocation that a wider one supersedes is listed too, and marked.
    """

    async def run() -> list[bytes]:
        async with connected(server.url, server.token) as client:
            return [bytes(each) async for each in Operations(client).revoked()]

    found = anyio.run(run)
    if as_json:
        for each in found:
            say_json(each)
    elif not found:
        say("There are no revocations.")
    else:
        rows = [_row(msgspec.json.decode(each, type=Revocation)) for each in found]
        console().print(table(HEADINGS, rows))


@command.command()
@click.argument("token_ids", nargs=-1, metavar="[TOKEN_ID]...")
@click.option("--client", "client_id", metavar="ID", help="Revoke all tokens of this client.")
@click.option(
    "--before",
    metavar="TIME",
    help="Revoke the tokens issued up to this time (2026-11-23T10:00:00Z, or now), of --client or "
    "of everyone.",
)
@click.option("--reason", default="", help="Recorded with the revocation.")
@click.option("--yes", is_flag=True, help="Do not ask before revoking the tokens of everyone.")
@as_operator_of_clients
def revoke(
    server: Server,
    token_ids: tuple[str, ...],
    client_id: str | None,
    before: str | None,
    reason: str,
    yes: bool,
) -> None:
    """Revoke tokens: by id, by client, or all that were issued up to a time.

    You may give a whole token instead of its id. Sessions that were started with the tokens end
    too. A revocation by client or by time does not affect tokens that are made afterwards.
    """
    if bool(token_ids) == bool(client_id or before):
        raise click.UsageError("Name tokens, or --client, --before, or both options.")
    wishes: list[dict[str, Any]] = [{"tokenId": _id_of(each)} for each in token_ids]
    if not token_ids:
        until = None if before is None else _moment(before)
        wishes = [{"clientId": client_id, "before": until}]
        if client_id is None:
            confirm(
                f"Revoke every token of every client that was issued up to {until}? All of them, "
                "and all browsers, need new ones.",
                yes=yes,
            )

    disabled: list[str] = []

    async def run() -> list[tuple[dict[str, Any], InForce | None]]:
        """Return each wish, with the revocations in force if it changed none of them."""
        done: list[tuple[dict[str, Any], InForce | None]] = []
        async with connected(server.url, server.token) as client:
            operations = Operations(client)
            before = await operations.revocations()
            for wish in wishes:
                after, webhooks = await operations.revoke({**wish, "reason": reason})
                disabled.extend(webhooks)
                done.append((wish, after if after == before else None))
                before = after
        return done

    done = anyio.run(run)
    for wish, already in done:
        if already is not None:
            say(f"{_covering(wish, already)}.")
    if any(already is None for _, already in done):
        say("Revoked. Every gateway knows within two seconds.")
    tell_disabled(disabled)


def tell_disabled(webhooks: list[str]) -> None:
    """Name the webhooks that a revocation has disabled, if any."""
    if webhooks:
        say(
            f"Disabled webhooks, which this access made or changed: {', '.join(webhooks)}. "
            "Check the URL of each, and rotate its secret, before you enable it."
        )


def _covering(wish: dict[str, Any], known: InForce) -> str:
    """Say why the tokens of the wish were not valid before it."""
    if (token_id := wish.get("tokenId")) is not None:
        return f"Nothing to revoke: token {token_id} is revoked already"
    asked = wish["before"]
    if asked is not None and is_outlived(datetime.fromisoformat(asked), datetime.now(UTC)):
        of = f" of {wish['clientId']}" if wish["clientId"] else ""
        return (
            f"No token{of} that was issued up to {asked} is valid any more: tokens live for "
            f"{LONGEST_LIFE.days} days at most. API keys{of} that were created up to then are "
            "revoked"
        )
    of_client = {each.client_id: each.before for each in known.clients}.get(wish["clientId"])
    whose, until = (wish["clientId"], of_client) if of_client else ("everyone", known.everyone)
    return f"Nothing to revoke: all tokens of {whose} issued up to {until} are revoked already"


@command.command()
@click.argument("token", default="-")
@with_settings()
def show(loaded: Loaded, token: str) -> None:  # noqa: ARG001 # accepts the options of its siblings
    """Show what a token contains: its id, client, name, role, scopes and times.

    The token is read from the standard input unless it is given. Whether it is valid is not
    checked.
    """
    text = sys.stdin.read().strip() if token == "-" else token  # noqa: S105 # not a secret
    if not text:
        raise UserError("there is no token: name one, or send one to the standard input")
    claims = _claims(text)
    for name, value in (
        ("id", claims.get("jti", "none (made by an older version)")),
        ("client", claims.get("sub")),
        ("name", claims.get("name", "none")),
        ("role", claims.get("role")),
        ("scopes", claims.get("scope", "none")),
        ("issued", _shown(claims.get("iat"))),
        ("expires", _shown(claims.get("exp"))),
    ):
        say(f"{name:<8} {value}")


@command.command()
@with_settings()
def keys(loaded: Loaded) -> None:
    """List the keys that sign and verify tokens: their ids, not their secrets."""
    _tell_keys(_keys(loaded.settings))


@command.command()
@click.option(
    "--retire", metavar="KEY", help="Stop accepting this key at once; `tokens keys` lists them."
)
@with_settings()
def rotate(loaded: Loaded, retire: str | None) -> None:
    """Sign with a new key. Earlier keys are accepted as long as their tokens can be valid.

    If a key has leaked, --retire it: its tokens, and the sessions started with them, end.
    """
    settings = loaded.settings
    if settings.secret is not None:
        raise UserError(
            "PHOTOLOG_SECRET holds the key. To change it, set PHOTOLOG_PREVIOUS_SECRET to a new "
            "secret on all hosts and restart the gateways; then swap the two and restart them "
            "again; unset PHOTOLOG_PREVIOUS_SECRET when its tokens have expired "
            "(PHOTOLOG_TOKEN_TTL_MAX_S)"
        )
    _keys(settings)
    _tell_keys(
        signing_keys.rotate(
            signing_keys.key_path(settings), settings.token_ttl_max_s, retired=retire
        )
    )


def _keys(settings: Settings) -> tuple[Key, ...]:
    if settings.secret is not None:
        return signing_keys.keys_in(settings)
    path = signing_keys.key_path(settings)
    try:
        return signing_keys.read(path)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no key in {settings.folder}: start `photolog up` once"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be used: {error}") from error


def _tell_keys(found: tuple[Key, ...]) -> None:
    now = time.time()
    for key in found:
        if key is found[0]:
            say(f"{key.id}  signs")
        elif key.until > now:
            say(f"{key.id}  verifies{_until(key)}")


def _until(key: Key) -> str:
    return "" if key.until == float("inf") else f" until {_shown(key.until)}"


def _row(found: Revocation) -> tuple[str | None, ...]:
    if found.token_id is not None:
        whose = f"token {found.token_id}"
    else:
        whose = "everyone" if found.client_id is None else f"client {found.client_id}"
    wider = "(a wider revocation includes this one)" if found.superseded else ""
    why = " ".join(filter(None, (found.reason, wider)))
    return (whose, moment(found.before), moment(found.revoked_at), found.revoked_by, why or None)


def _id_of(text: str) -> str:
    if text.count(".") != 2:  # a JWT has three parts
        if not _ID.fullmatch(text):
            raise UserError(
                f"{printable(text)[:SHOWN]!r} cannot be a token id: an id has "
                f"{2 * TOKEN_ID_BYTES} hexadecimal digits, as `photolog tokens show` "
                "prints it. You may also give a whole token"
            )
        return text
    token_id = _claims(text).get("jti")
    if token_id is None:
        raise UserError(
            "the token has no id, because an older version made it: revoke it with --client"
        )
    return str(token_id)


def _claims(token: str) -> dict[str, Any]:
    try:
        return jwt.decode(token, options={"verify_signature": False})  # pyright: ignore[reportUnknownMemberType] # types of the library
    except jwt.InvalidTokenError as error:
        raise UserError("this is not a token") from error


def _moment(text: str) -> str:
    if text == "now":
        return datetime.now(UTC).isoformat()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{text!r} is not a time: write 2026-11-23T10:00:00Z, or now") from error
    if moment.tzinfo is None:
        raise UserError(f"{text!r} has no offset from UTC: write 2026-11-23T10:00:00Z")
    return moment.isoformat()


def _shown(moment: Any) -> str:
    try:
        return datetime.fromtimestamp(float(moment), UTC).isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return "unknown"

"""``photolog quotas``: show what clients use, and set their quotas."""

import re
from typing import Any

import anyio
import click
import msgspec

from ops.cli.options import reason_option
from ops.cli.server import as_operator
from ops.client.client import Server, connected
from ops.client.operations import ClientQuota, Operations, OwnQuota
from ops.event_format import plural, say, say_json, sized

NONE, DEFAULT = "none", "default"
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
MOST = 2**53 - 1

NAMES = ("photos", "bytes", "jobs", "uploads", "idempotency_keys")


def _most(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Any:
    """Return None if the option was not given, otherwise a number or DEFAULT."""
    if text is None or text == DEFAULT:
        return text
    if text == NONE:
        return 0
    match = re.fullmatch(r"(\d{1,16})([kmgt]?)b?", text.lower(), re.ASCII)
    most = int(match[1]) * UNITS[match[2]] if match else 0
    if not 0 < most <= MOST:
        raise click.BadParameter(f"{text!r} is not a number such as 500 or 20G, none or default")
    return most


def _option(name: str, what: str) -> Any:
    return click.option(f"--{name}", callback=_most, metavar="N|none|default", help=what)


@click.command()
@click.argument("whose", metavar="[CLIENT]", required=False)
@_option("photos", "Maximum number of photos.")
@_option("bytes", "Maximum size of originals and renditions, such as 500M or 20G.")
@_option("jobs", "Maximum number of jobs that have not ended.")
@_option("uploads", "Maximum number of open uploads in one gateway.")
@_option("idempotency-keys", "Maximum number of idempotency keys in 24 hours.")
@reason_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each client.")
@as_operator
def command(
    server: Server, whose: str | None, reason: str | None, as_json: bool, **given: Any
) -> None:
    """Show what clients use, and set their quotas.

    Without CLIENT, all clients are listed. An option sets that limit of CLIENT and keeps the
    others: none means no limit, default the limit of the settings. Nothing is deleted if a client
    already has more than its new quota.
    """
    wish = {name: most for name, most in given.items() if most is not None}
    if whose is None:
        if wish:
            raise click.UsageError("Name the client whose quota you want to set.")
        anyio.run(_list, server, as_json)
        return

    async def run() -> ClientQuota:
        async with connected(server.url, server.token) as http:
            operations = Operations(http)
            found = await operations.quota(whose)
            if not wish:
                return found
            own = msgspec.structs.asdict(found.own)
            own |= {name: None if most == DEFAULT else most for name, most in wish.items()}
            return await operations.set_quota(whose, OwnQuota(**own), reason)

    found = anyio.run(run)
    _tell(found, as_json=as_json)
    for note in _notes(found):
        say(note, err=True)


def _notes(found: ClientQuota) -> list[str]:
    """Return what is probably a mistake: a quota for no job, or a client that nobody knows."""
    notes: list[str] = []
    limit = found.quota.bytes.limit
    if limit is not None and limit <= found.job_bytes:
        notes.append(
            f"Warning: every upload of {found.client_id} is rejected, because each job reserves "
            f"{found.job_bytes:,} bytes (PHOTOLOG_QUOTA_JOB_BYTES): set --bytes to more than that."
        )
    if found.holds_nothing:
        own = "" if found.own != OwnQuota() else " and has no quota of its own"
        notes.append(
            f"Note: {found.client_id} has stored nothing{own}. `photolog quotas` lists all clients."
        )
    return notes


async def _list(server: Server, as_json: bool) -> None:
    any_found = False
    async with connected(server.url, server.token) as http:
        async for each in Operations(http).clients():
            any_found = True
            if as_json:
                say_json(msgspec.json.encode(each))
                continue
            usage = each.usage
            own = [
                f"{name.replace('_', '-')} {_shown(most or None)}"
                for name in NAMES
                if (most := getattr(each.own, name)) is not None
            ]
            quota = f"  quota: {', '.join(own)}" if own else ""
            say(
                f"{each.client_id}  {plural(usage.photos, 'photo')}  {sized(usage.bytes)}  "
                f"{plural(usage.jobs, 'job')}{quota}"
            )
    if not any_found and not as_json:
        say("There are no clients.")


def _tell(found: ClientQuota, *, as_json: bool) -> None:
    if as_json:
        say_json(msgspec.json.encode(found))
        return
    for name in NAMES:
        amount = getattr(found.quota, name)
        own = "" if getattr(found.own, name) is not None else " (default)"
        shown = name.replace("_", "-")
        limit = "no limit" if amount.limit is None else f"of {amount.limit:,}"
        reserved = found.quota.reserved_bytes if name == "bytes" else 0
        reservation = f", {reserved:,} more reserved for jobs" if reserved else ""
        say(f"{shown:<16} {amount.used:>16,}  {limit}{own}{reservation}")


def _shown(most: int | None) -> str:
    return NONE if most is None else f"{most:,}"

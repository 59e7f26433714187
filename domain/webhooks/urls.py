"""Which URLs a webhook may have, as far as their text tells.

Where a name leads is checked at each connection, see ``gateway.webhooks.destinations``.
"""

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from domain.rejections import InvalidWebhook
from domain.webhooks.addresses import Network, NotAllowed, allowed, written_addresses

URL_MAX = 1_000

_TEXT = re.compile(r"[!-~]+")
"""Visible ASCII: other characters must be percent-encoded, or as in ``xn--``."""

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*\.?|[0-9A-Fa-f:.]+")


def check_url(url: str, private: Sequence[Network] = ()) -> SplitResult:
    """Return the parts of a URL that a webhook may have; raises InvalidWebhook.

    ``private`` are networks that webhooks may reach besides public addresses, also by plain HTTP.
    """
    if not 1 <= len(url) <= URL_MAX or not _TEXT.fullmatch(url):
        raise InvalidWebhook(
            f"The URL of a webhook has 1 to {URL_MAX:,} characters of visible ASCII.",
            advice="Percent-encode all other characters.",
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidWebhook(f"This is not a URL: {error}.", advice=_EXAMPLE) from error
    schemes = ("https", "http") if private else ("https",)
    if parts.scheme not in schemes:
        raise InvalidWebhook(
            f"The URL of a webhook begins with {' or '.join(f'{each}://' for each in schemes)}.",
            advice=_EXAMPLE if parts.scheme != "http" else f"{_EXAMPLE} {_PRIVATE}",
        )
    if not host or not _HOST.fullmatch(host) or port == 0:
        raise InvalidWebhook("The URL of a webhook needs a valid host and port.", advice=_EXAMPLE)
    if "@" in parts.netloc:
        raise InvalidWebhook(
            "The URL of a webhook has no user and password: everyone who lists it would see them.",
            advice="Verify the signature of each delivery instead.",
        )
    if "#" in url:
        raise InvalidWebhook("The URL of a webhook has no fragment.", advice="Remove the #.")
    _check_address(host, private, encrypted=parts.scheme == "https")
    return parts


def _check_address(host: str, private: Sequence[Network], *, encrypted: bool) -> None:
    """Reject a host that is an address which no delivery would ever reach."""
    if not (addresses := written_addresses(host)):
        return
    try:
        allowed(addresses, private, encrypted=encrypted)
    except NotAllowed as error:
        written = f"{host} ({addresses[0]})" if host != str(addresses[0]) else host
        raise InvalidWebhook(
            f"A webhook to {written[:100]} cannot be delivered: {error}.",
            advice=f"{_EXAMPLE} {_PRIVATE}",
        ) from error


_EXAMPLE = "Use one such as https://example.com/photolog."

_PRIVATE = (
    "For a receiver on this machine or in your own network, an operator can allow its address and "
    "http:// with PHOTOLOG_WEBHOOK_PRIVATE_ADDRESSES."
)

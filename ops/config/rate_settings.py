"""Settings of the rate limits; ``gateway.http.rate_limits`` has the defaults and explains each."""

from typing import Annotated, Any

from msgspec import Meta

from gateway.http.rate_limits import ByRole, RateLimits
from ops.config.allowances import FORM, FORM_BY_ROLE, parse, parse_by_role, text_by_role, text_of
from ops.config.s3_settings import S3Settings

_DEFAULT = RateLimits()

RATES = RateLimits.__struct_fields__


def complete(name: str, text: str) -> str:
    """Return ``text`` with the default of each role that it omits, so that all limits are shown.

    Raises:
        ValueError: the text is not a rate limit; the message says what is accepted.
    """
    value = _value(name, text)
    return text_by_role(value) if isinstance(value, ByRole) else text_of(value)


def form(name: str) -> str:
    """Return in words which values the rate limit takes."""
    return FORM_BY_ROLE if isinstance(getattr(_DEFAULT, name), ByRole) else FORM


def _value(name: str, text: str) -> Any:
    default = getattr(_DEFAULT, name)
    return parse_by_role(text, default) if isinstance(default, ByRole) else parse(text)


class RateSettings(S3Settings, frozen=True, kw_only=True):
    """The rate limits of ``RateLimits``, as texts."""

    rate_requests: Annotated[str, Meta(description="Requests per client.")] = text_by_role(
        _DEFAULT.rate_requests
    )
    rate_uploads: Annotated[str, Meta(description="Uploads per client.")] = text_by_role(
        _DEFAULT.rate_uploads
    )
    rate_upload_bytes: Annotated[
        str, Meta(description="Uploaded bytes per client, such as 500MB/60s.")
    ] = text_by_role(_DEFAULT.rate_upload_bytes)
    rate_commands: Annotated[
        str,
        Meta(description="Requests per client that change something, other than uploads."),
    ] = text_by_role(_DEFAULT.rate_commands)
    rate_webhook_changes: Annotated[
        str,
        Meta(description="Requests per client that create or change webhooks; deletions are free."),
    ] = text_by_role(_DEFAULT.rate_webhook_changes)
    rate_streams: Annotated[
        str, Meta(description="Event streams and WebSockets that a client opens.")
    ] = text_by_role(_DEFAULT.rate_streams)
    rate_requests_per_address: Annotated[
        str, Meta(description="Requests per address, of all its clients.")
    ] = text_of(_DEFAULT.rate_requests_per_address)
    rate_uploads_per_address: Annotated[
        str, Meta(description="Uploads per address, of all its clients.")
    ] = text_of(_DEFAULT.rate_uploads_per_address)
    rate_upload_bytes_per_address: Annotated[
        str, Meta(description="Uploaded bytes per address, of all its clients.")
    ] = text_of(_DEFAULT.rate_upload_bytes_per_address)
    rate_commands_per_address: Annotated[
        str,
        Meta(
            description="Requests per address that change something, other than uploads, of all "
            "its clients."
        ),
    ] = text_of(_DEFAULT.rate_commands_per_address)
    rate_webhook_changes_per_address: Annotated[
        str,
        Meta(description="Requests per address that create or change webhooks, of all clients."),
    ] = text_of(_DEFAULT.rate_webhook_changes_per_address)
    rate_streams_per_address: Annotated[
        str,
        Meta(description="Event streams and WebSockets that all clients of an address open."),
    ] = text_of(_DEFAULT.rate_streams_per_address)
    rate_anonymous_per_address: Annotated[
        str, Meta(description="Requests per address without a valid token.")
    ] = text_of(_DEFAULT.rate_anonymous_per_address)
    rate_page_files_per_address: Annotated[
        str,
        Meta(description="Files of the web pages that an address loads, with or without a token."),
    ] = text_of(_DEFAULT.rate_page_files_per_address)
    rate_sign_in_failures: Annotated[
        str,
        Meta(description="Invalid tokens per address; valid tokens are accepted all the same."),
    ] = text_of(_DEFAULT.rate_sign_in_failures)
    rate_messages: Annotated[
        str,
        Meta(description="WebSocket messages per client that a gateway accepts."),
    ] = text_of(_DEFAULT.rate_messages)

    @property
    def rates(self) -> RateLimits:
        """The rate limits of the gateway."""
        return RateLimits(**{name: _value(name, getattr(self, name)) for name in RATES})

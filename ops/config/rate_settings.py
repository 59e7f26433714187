"""The settings of the rate limits; ``gateway.limits.rate_limits`` says what they mean."""

from typing import Annotated, Any

from msgspec import Meta

from gateway.http.rate_limits import ByRole, RateLimits
from ops.config.allowances import FORM, FORM_BY_ROLE, parse, parse_by_role, text_by_role, text_of
from ops.config.s3_settings import S3Settings

_DEFAULT = RateLimits()

RATES = RateLimits.__struct_fields__


def whole(name: str, text: str) -> str:
    """Return the whole rate limit that ``text`` stands for, so that what is shown is what holds.

    Raises:
        ValueError: the message says what is accepted.
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
    """Those of ``gateway.http.rate_limits.RateLimits``, as texts."""

    rate_requests: Annotated[str, Meta(description="Requests of a client.")] = text_by_role(
        _DEFAULT.rate_requests
    )
    rate_uploads: Annotated[str, Meta(description="Uploads of a client.")] = text_by_role(
        _DEFAULT.rate_uploads
    )
    rate_upload_bytes: Annotated[
        str, Meta(description="Bytes that a client uploads, as 500MB/60s.")
    ] = text_by_role(_DEFAULT.rate_upload_bytes)
    rate_commands: Annotated[
        str, Meta(description="Requests of a client that change something, other than uploads.")
    ] = text_by_role(_DEFAULT.rate_commands)
    rate_streams: Annotated[
        str, Meta(description="Event streams and WebSockets that a client opens.")
    ] = text_by_role(_DEFAULT.rate_streams)
    rate_requests_per_address: Annotated[
        str, Meta(description="Requests of all clients of an address.")
    ] = text_of(_DEFAULT.rate_requests_per_address)
    rate_uploads_per_address: Annotated[
        str, Meta(description="Uploads of all clients of an address.")
    ] = text_of(_DEFAULT.rate_uploads_per_address)
    rate_upload_bytes_per_address: Annotated[
        str, Meta(description="Bytes that all clients of an address upload.")
    ] = text_of(_DEFAULT.rate_upload_bytes_per_address)
    rate_commands_per_address: Annotated[
        str, Meta(description="Requests of all clients of an address that change something.")
    ] = text_of(_DEFAULT.rate_commands_per_address)
    rate_streams_per_address: Annotated[
        str,
        Meta(description="Event streams and WebSockets that all clients of an address open."),
    ] = text_of(_DEFAULT.rate_streams_per_address)
    rate_anonymous_per_address: Annotated[
        str, Meta(description="Requests of an address without a valid token.")
    ] = text_of(_DEFAULT.rate_anonymous_per_address)
    rate_sign_in_failures: Annotated[
        str, Meta(description="Invalid tokens of an address; valid ones are let in all the same.")
    ] = text_of(_DEFAULT.rate_sign_in_failures)
    rate_messages: Annotated[
        str,
        Meta(description="Messages over WebSockets of a client that a gateway takes."),
    ] = text_of(_DEFAULT.rate_messages)

    @property
    def rates(self) -> RateLimits:
        """The rate limits of the gateway."""
        return RateLimits(**{name: _value(name, getattr(self, name)) for name in RATES})

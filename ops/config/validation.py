"""Reject contradictory settings before anything starts."""

import ipaddress
import re
import ssl
from importlib.util import find_spec
from urllib.parse import urlsplit

import msgspec

from domain.webhooks.addresses import parse_networks
from gateway.access.oidc.config import is_local
from gateway.http.cors import Cors
from gateway.http.rate_limits import PAGE_FILES
from ops.config.settings import Settings, variable_of
from ops.errors import UserError

LAST_PORT = 65_535

_ENDPOINT = re.compile(r"https?://[^/?#@\s]+/?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


def check(settings: Settings) -> None:
    """Check the settings of a process before it starts; raises UserError, which names them."""
    check_blobs(settings)
    _check_oidc(settings)
    _check_rates(settings)
    _check_proxies(settings.trusted_proxies)
    _check_origins(settings.cors_origins)
    _check_webhooks(settings)
    _check_archive(settings)
    if settings.redis_url is not None:
        _check_redis(settings.redis_url)


def check_system(settings: Settings) -> None:
    """Check the settings of a whole system before it starts; raises UserError."""
    check(settings)
    if settings.previous_secret is not None and settings.secret is None:
        raise UserError(
            "PHOTOLOG_PREVIOUS_SECRET is set, but PHOTOLOG_SECRET is not: set both, or neither and "
            "change the key of the data folder with `photolog tokens rotate`"
        )
    if settings.metrics_port + settings.workers + 3 > LAST_PORT:
        highest = LAST_PORT - settings.workers - 3
        raise UserError(
            f"PHOTOLOG_METRICS_PORT must be at most {highest} with {settings.workers} workers, "
            f"whose ports follow it (got {settings.metrics_port})"
        )
    replicas = settings.append_wait_replicas
    if settings.redis_url is None and replicas:
        raise UserError(
            f"PHOTOLOG_APPEND_WAIT_REPLICAS is {replicas}, but the embedded Valkey has no replica: "
            "set PHOTOLOG_REDIS_URL, or unset it"
        )


def _check_archive(settings: Settings) -> None:
    trims = settings.archive_keep_s is not None or settings.archive_keep_bytes is not None
    if settings.archive_keep_states_s is not None and not trims:
        raise UserError(
            "PHOTOLOG_ARCHIVE_KEEP_STATES_S is set, but a state can leave Redis only after its "
            "events: set PHOTOLOG_ARCHIVE_KEEP_S or PHOTOLOG_ARCHIVE_KEEP_BYTES too"
        )


def check_blobs(settings: Settings) -> None:
    """Check the settings of the blob storage; raises UserError."""
    if settings.s3_endpoint is None:
        if settings.s3_access_key or settings.s3_secret_key:
            raise UserError(
                "PHOTOLOG_S3_ENDPOINT is unset, but a key for an S3 server is set: set the "
                "endpoint, or unset PHOTOLOG_S3_ACCESS_KEY and PHOTOLOG_S3_SECRET_KEY"
            )
        return
    for name in ("s3_endpoint", "s3_public_endpoint"):
        url = getattr(settings, name)
        if url is not None and not _ENDPOINT.fullmatch(url):
            raise UserError(
                f"{variable_of(name)} must be http:// or https:// with a host and a port, and "
                f"nothing after them (got {url})"
            )
    for name in ("s3_access_key", "s3_secret_key"):
        if getattr(settings, name) is None:
            raise UserError(
                f"{variable_of(name)} is unset: set it too, since PHOTOLOG_S3_ENDPOINT is set"
            )
    if not _BUCKET.fullmatch(settings.s3_bucket):
        raise UserError(
            "PHOTOLOG_S3_BUCKET must be 3 to 63 of the characters a to z, 0 to 9, dot and hyphen, "
            f"and begin and end with a letter or digit (got {settings.s3_bucket!r})"
        )
    _check_ca_file("s3_ca_file", settings.s3_ca_file)


def _check_ca_file(name: str, path: str | None) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise UserError(f"{variable_of(name)}: {path} cannot be used: {error.strerror}") from error


def _check_oidc(settings: Settings) -> None:
    """Check the settings of the OpenID provider; raises UserError."""
    if settings.oidc_issuer is None:
        for name in ("oidc_client_id", "oidc_client_secret", "oidc_public_url"):
            if getattr(settings, name) is not None:
                raise UserError(
                    f"PHOTOLOG_OIDC_ISSUER is unset, but {variable_of(name)} is set: set both, or "
                    "neither"
                )
        return
    for name in ("oidc_client_id", "oidc_public_url"):
        if getattr(settings, name) is None:
            raise UserError(
                f"{variable_of(name)} is unset: set it too, since PHOTOLOG_OIDC_ISSUER is set"
            )
    if not settings.oidc_issuer.startswith("https:") and not is_local(settings.oidc_issuer):
        raise UserError(
            "PHOTOLOG_OIDC_ISSUER must begin with https://, unless the provider is on this machine "
            f"(got {settings.oidc_issuer})"
        )
    if not _ENDPOINT.fullmatch(settings.oidc_public_url or ""):
        raise UserError(
            "PHOTOLOG_OIDC_PUBLIC_URL must be http:// or https:// with a host, and nothing after "
            f"it (got {settings.oidc_public_url})"
        )
    if "openid" not in settings.oidc_scopes.split():
        raise UserError("PHOTOLOG_OIDC_SCOPES must contain openid")
    _check_roles(settings)
    _check_ca_file("oidc_ca_file", settings.oidc_ca_file)
    if find_spec("cryptography") is None:
        raise UserError(
            "PHOTOLOG_OIDC_ISSUER is set, but the package cryptography, which verifies the "
            "provider's tokens, is not installed: install it"
        )


def _check_roles(settings: Settings) -> None:
    named = settings.oidc_operators or settings.oidc_auditors or settings.oidc_clients
    if named and not settings.oidc_role_claim:
        raise UserError(
            "PHOTOLOG_OIDC_ROLE_CLAIM is unset, but values of it are set: set the claim, or unset "
            "PHOTOLOG_OIDC_OPERATORS, PHOTOLOG_OIDC_AUDITORS and PHOTOLOG_OIDC_CLIENTS"
        )
    if settings.oidc_unknown_role == "refuse" and not named:
        raise UserError(
            "PHOTOLOG_OIDC_UNKNOWN_ROLE is refuse, but no value makes a role, so nobody could sign "
            "in: set PHOTOLOG_OIDC_CLIENTS, for example"
        )


def _check_proxies(listed: str) -> None:
    for each in filter(None, (part.strip() for part in listed.split(","))):
        try:
            ipaddress.ip_network(each)
        except ValueError as error:
            raise UserError(
                f"PHOTOLOG_TRUSTED_PROXIES: {each!r} is neither an IP address nor a "
                f"network such as 192.168.1.0/24 ({error})"
            ) from error


def _check_origins(listed: str) -> None:
    try:
        Cors(listed)
    except ValueError as error:
        raise UserError(f"PHOTOLOG_CORS_ORIGINS: {error}") from error


def _check_webhooks(settings: Settings) -> None:
    try:
        parse_networks(settings.webhook_private_addresses)
    except ValueError as error:
        raise UserError(
            "PHOTOLOG_WEBHOOK_PRIVATE_ADDRESSES must be IP addresses and networks such as "
            f"10.0.0.0/8, separated by commas ({error})"
        ) from error
    if settings.webhook_ca_file is None:
        return
    try:
        ssl.create_default_context(cafile=settings.webhook_ca_file)
    except OSError as error:
        raise UserError(
            f"PHOTOLOG_WEBHOOK_CA_FILE: {settings.webhook_ca_file} cannot be used: {error.strerror}"
        ) from error


def _check_rates(settings: Settings) -> None:
    """Reject limits below the largest upload or below one page: neither could ever pass."""
    rates = settings.rates
    of_files = rates.rate_page_files_per_address
    if of_files is not None and of_files.tokens < PAGE_FILES:
        raise UserError(
            f"PHOTOLOG_RATE_PAGE_FILES_PER_ADDRESS allows {of_files.tokens} files, but a web page "
            f"may have {PAGE_FILES}: raise it"
        )
    of_address = {"": rates.rate_upload_bytes_per_address}
    for name, of_roles in (
        ("rate_upload_bytes", msgspec.structs.asdict(rates.rate_upload_bytes)),
        ("rate_upload_bytes_per_address", of_address),
    ):
        for role, rate in of_roles.items():
            if rate is not None and rate.tokens < settings.max_upload_bytes:
                of = f" for the role {role}" if role else ""
                raise UserError(
                    f"{variable_of(name)} allows {rate.tokens} bytes{of}, but an upload may have "
                    f"{settings.max_upload_bytes}: raise it, or lower PHOTOLOG_MAX_UPLOAD_BYTES"
                )


def _check_redis(url: str) -> None:
    """Check the ports; the error does not show the URL, which may hold a password."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return
    try:
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError as error:
        raise UserError(
            "PHOTOLOG_REDIS_URL has no valid port: write HOST:PORT, and write / ? # @ in a "
            "password as %2F %3F %23 %40"
        ) from error

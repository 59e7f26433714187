"""Settings that are each well and cannot be meant together, found before anything is begun."""

import ipaddress
import re
import ssl
from urllib.parse import urlsplit

import msgspec

from ops.config.settings import Settings, variable_of
from ops.errors import UserError

LAST_PORT = 65_535

_ENDPOINT = re.compile(r"https?://[^/?#@\s]+/?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


def check(settings: Settings) -> None:
    """Look at the settings of a process that is to run; raises UserError, which names them."""
    check_blobs(settings)
    _check_rates(settings)
    _check_proxies(settings.trusted_proxies)
    if settings.redis_url is not None:
        _check_redis(settings.redis_url)


def check_system(settings: Settings) -> None:
    """``check``, for who starts a whole system; raises UserError."""
    check(settings)
    if settings.previous_secret is not None and settings.secret is None:
        raise UserError(
            "PHOTOLOG_PREVIOUS_SECRET is set, but PHOTOLOG_SECRET is not: `photolog tokens rotate` "
            "changes the key of the data folder"
        )
    if settings.metrics_port + settings.workers + 1 > LAST_PORT:
        raise UserError("PHOTOLOG_METRICS_PORT: the ports of the workers would be too high")
    replicas = settings.append_wait_replicas
    if settings.redis_url is None and replicas:
        raise UserError(
            f"PHOTOLOG_APPEND_WAIT_REPLICAS is {replicas}, but without PHOTOLOG_REDIS_URL the log "
            "is in a server that has no replica"
        )


def check_blobs(settings: Settings) -> None:
    """The part of ``check`` that is about the photos' files; raises UserError."""
    if settings.s3_endpoint is None:
        if settings.s3_access_key or settings.s3_secret_key:
            raise UserError("PHOTOLOG_S3_ENDPOINT is unset, but there is a key of a server of S3")
        return
    for name in ("s3_endpoint", "s3_public_endpoint"):
        url = getattr(settings, name)
        if url is not None and not _ENDPOINT.fullmatch(url):
            raise UserError(f"{variable_of(name)} is {url}, but takes no more than host and port")
    for name in ("s3_access_key", "s3_secret_key"):
        if getattr(settings, name) is None:
            raise UserError(f"{variable_of(name)} is unset, but PHOTOLOG_S3_ENDPOINT needs it")
    if not _BUCKET.fullmatch(settings.s3_bucket):
        raise UserError(
            f"PHOTOLOG_S3_BUCKET is {settings.s3_bucket!r}, but takes 3 to 63 characters of "
            "a to z, 0 to 9, dot and hyphen, no dot or hyphen at an end"
        )
    try:
        ssl.create_default_context(cafile=settings.s3_ca_file)
    except OSError as error:
        raise UserError(
            f"PHOTOLOG_S3_CA_FILE: {settings.s3_ca_file} cannot be used: {error.strerror}"
        ) from error


def _check_proxies(listed: str) -> None:
    for each in filter(None, (part.strip() for part in listed.split(","))):
        try:
            ipaddress.ip_network(each)
        except ValueError as error:
            raise UserError(
                f"PHOTOLOG_TRUSTED_PROXIES: {each!r} is neither an IP address nor a "
                f"network such as 192.168.1.0/24 ({error})"
            ) from error


def _check_rates(settings: Settings) -> None:
    """An upload that takes more tokens than a bucket holds would be refused for ever."""
    rates = settings.rates
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
                    f"{settings.max_upload_bytes}: raise it or lower PHOTOLOG_MAX_UPLOAD_BYTES"
                )


def _check_redis(url: str) -> None:
    """Without showing the URL, which may hold a password."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return
    try:
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError as error:
        raise UserError(
            "PHOTOLOG_REDIS_URL: there is no port where it should be: write HOST:PORT, and / ? # @ "
            "in a password as %2F %3F %23 %40"
        ) from error

"""Translate the errors of an S3 server, and of the connection to it, to StoreError."""

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from http.client import RemoteDisconnected
from xml.etree.ElementTree import ParseError  # what the SDK raises

from minio.error import MinioException, S3Error, ServerError
from urllib3 import exceptions as http

from store.errors import Denied, Exists, Full, Missing, StoreError, Unavailable

_ABSENT = {"NoSuchKey", "NoSuchUpload"}
_FULL = {
    "InsufficientStorage",  # Versity
    "QuotaExceeded",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
}
_NO_SPACE = "no space left on device"
"""Part of MinIO's message about a full disk, which it reports as an internal error."""

_DENIED = {
    "InvalidAccessKeyId": ("access_key", "the server does not know the access key"),
    "SignatureDoesNotMatch": ("secret_key", "the secret key does not match the access key"),
    "AccessDenied": ("bucket", "the access key lacks permissions on the bucket {bucket}"),
    "AllAccessDisabled": ("bucket", "all access to the bucket {bucket} is disabled"),
    "BucketAlreadyExists": ("bucket", "the bucket {bucket} belongs to another account"),
    "InvalidBucketName": ("bucket", "the server rejects the bucket name {bucket}"),
    "AuthorizationHeaderMalformed": ("region", "the server refuses the region: {detail}"),
    "PermanentRedirect": ("region", "the bucket {bucket} is in another region: {detail}"),
    "IllegalLocationConstraintException": ("region", "the server refuses the region: {detail}"),
    "BadRequest": ("region", "the server refuses the region: {detail}"),
}
"""The wrong setting and the reason, by code. HEAD reports a wrong region as ``BadRequest``."""

_NAME_MISMATCH = {62, 64}
"""``X509_V_ERR_HOSTNAME_MISMATCH`` and ``X509_V_ERR_IP_ADDRESS_MISMATCH`` of OpenSSL."""


@contextmanager
def translated(endpoint: str, bucket: str, key: str = "") -> Generator[None]:
    """Translate the errors of calls about the blob ``key``, or about the bucket."""
    try:
        yield
    except S3Error as error:
        raise _store_error(error, bucket, key) from error
    except http.HTTPError as error:
        raise _connection_error(error, endpoint) from error
    except ServerError as error:
        message = f"{endpoint} answered with status {error.status_code}"
        raise Unavailable(message) from error
    except (MinioException, ParseError) as error:
        if endpoint.startswith("http:") and "HTTPS" in str(error):
            raise Denied(f"{endpoint} expects TLS: use https://", "endpoint") from error
        raise Unavailable(f"{endpoint} does not answer like an S3 server: {error}") from error


def _store_error(error: S3Error, bucket: str, key: str) -> StoreError:
    code, detail = error.code or "", error.message or ""
    if code in _ABSENT:
        return Missing(f"blob {key} does not exist")
    if code == "PreconditionFailed":
        return Exists(f"blob {key} already exists")
    if code in _FULL or _NO_SPACE in detail:
        return Full("the blob server is full")
    if code in _DENIED:
        setting, message = _DENIED[code]
        return Denied(message.format(bucket=bucket, detail=detail), setting)
    return Unavailable(f"the blob server reports {code}: {detail}")


def _connection_error(error: http.HTTPError, endpoint: str) -> StoreError:
    reason = error.reason if isinstance(error, http.MaxRetryError) else error
    match reason:
        case http.SSLError():
            return _tls_error(reason, endpoint)
        case http.NameResolutionError():
            why = "its host name cannot be resolved"
        case http.NewConnectionError():
            why = "it refuses connections"
        case http.TimeoutError():
            why = "the request timed out"
        case _:
            why = "the connection was lost"
            # A server that speaks TLS may close such a connection without a word.
            if endpoint.startswith("http:") and _without_answer(reason):
                why += "; if the server uses TLS, write https://"
    return Unavailable(f"{endpoint} does not answer: {why}")


def _without_answer(reason: Exception | None) -> bool:
    return reason is not None and any(isinstance(e, RemoteDisconnected) for e in reason.args)


def _tls_error(reason: http.SSLError, endpoint: str) -> Denied:
    for cause in reason.args:
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = cause.verify_message
            if cause.verify_code in _NAME_MISMATCH:
                return Denied(
                    f"{endpoint} has a certificate for another name: {detail}", "endpoint"
                )
            message = f"{endpoint} has a certificate that no trusted authority has signed"
            return Denied(f"{message}: {detail}", "ca_file")
    hint = "if the server does not use TLS, write http://"
    return Denied(f"the TLS connection to {endpoint} failed: {reason}; {hint}", "endpoint")

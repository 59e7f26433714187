"""The errors of a server of S3, and of the way to it, as ours."""

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from xml.etree.ElementTree import ParseError  # what the SDK raises

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3 import exceptions as http

from store.errors import Denied, Exists, Full, Missing, StoreError, Unavailable

_ABSENT = {"NoSuchKey", "NoSuchUpload"}
_FULL = {"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded"}
_NO_SPACE = "no space left on device"
"""In what MinIO says of a full disk, as an internal error."""

_DENIED = {
    "InvalidAccessKeyId": ("access_key", "the server does not know the access key"),
    "SignatureDoesNotMatch": ("secret_key", "it is not the secret key of the access key"),
    "AccessDenied": ("bucket", "the access key may not use the bucket {bucket} as it has to"),
    "AllAccessDisabled": ("bucket", "nobody may use the bucket {bucket}"),
    "BucketAlreadyExists": ("bucket", "the bucket {bucket} belongs to somebody else"),
    "InvalidBucketName": ("bucket", "the server takes no bucket of the name {bucket}"),
    "AuthorizationHeaderMalformed": ("region", "the server refuses the region: {said}"),
    "PermanentRedirect": ("region", "the bucket {bucket} is in another region: {said}"),
    "IllegalLocationConstraintException": ("region", "the server refuses the region: {said}"),
    "BadRequest": ("region", "the server refuses the region: {said}"),
}
"""By code: the setting that is wrong, and how. ``BadRequest`` is what HEAD makes of a region."""

_NAME_MISMATCH = {62, 64}
"""What OpenSSL calls ``X509_V_ERR_HOSTNAME_MISMATCH`` and ``X509_V_ERR_IP_ADDRESS_MISMATCH``."""


@contextmanager
def translated(endpoint: str, bucket: str, key: str = "") -> Generator[None]:
    """For calls about the blob ``key`` of the bucket, or about the bucket."""
    try:
        yield
    except S3Error as error:
        raise _store_error(error, bucket, key) from error
    except http.HTTPError as error:
        raise _connection_error(error, endpoint) from error
    except ServerError as error:
        message = f"{endpoint} answers with status {error.status_code}"
        raise Unavailable(message) from error
    except (InvalidResponseError, MinioException, ParseError) as error:
        if endpoint.startswith("http:") and "HTTPS" in str(error):
            raise Denied(f"{endpoint} speaks TLS: write https://", "endpoint") from error
        raise Unavailable(f"{endpoint} does not answer as S3 does: {error}") from error


def _store_error(error: S3Error, bucket: str, key: str) -> StoreError:
    code, said = error.code or "", error.message or ""
    if code in _ABSENT:
        return Missing(f"there is no blob {key}")
    if code == "PreconditionFailed":
        return Exists(f"there is a blob {key} already")
    if code in _FULL or _NO_SPACE in said:
        return Full("the blob server is full")
    if code in _DENIED:
        setting, message = _DENIED[code]
        return Denied(message.format(bucket=bucket, said=said), setting)
    return Unavailable(f"the blob server says {code}: {said}")


def _connection_error(error: http.HTTPError, endpoint: str) -> StoreError:
    reason = error.reason if isinstance(error, http.MaxRetryError) else error
    match reason:
        case http.SSLError():
            return _tls_error(reason, endpoint)
        case http.NameResolutionError():
            why = "its name is not known"
        case http.NewConnectionError():
            why = "it takes no connection"
        case http.TimeoutError():
            why = "it takes too long"
        case _:
            why = "the connection broke off"
    return Unavailable(f"{endpoint} does not answer: {why}")


def _tls_error(reason: http.SSLError, endpoint: str) -> Denied:
    for cause in reason.args:
        if isinstance(cause, ssl.SSLCertVerificationError):
            said = cause.verify_message
            if cause.verify_code in _NAME_MISMATCH:
                return Denied(f"{endpoint} has the certificate of another: {said}", "endpoint")
            message = f"{endpoint} has a certificate that none of these authorities vouches for"
            return Denied(f"{message}: {said}", "ca_file")
    return Denied(f"{endpoint} does not speak TLS as it should: {reason}", "endpoint")

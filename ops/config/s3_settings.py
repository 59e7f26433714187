"""Settings of the S3 server that stores the photos; see ``ops.config.settings``."""

from typing import Annotated

from msgspec import Meta

from ops.config.archive_settings import ArchiveSettings
from ops.config.bounds import HttpUrl
from ops.config.setting_values import SECRET, WITHOUT_PASSWORD
from store.blobs.s3_server import Server

Key = Annotated[str, Meta(min_length=3)]

_SERVER = Server(endpoint="", access_key="", secret_key="")


class S3Settings(ArchiveSettings, frozen=True, kw_only=True):
    """The address of the server, how it is called, and the photos that this machine caches."""

    s3_endpoint: Annotated[
        HttpUrl | None,
        Meta(
            description="URL of the S3 server that stores the photos, such as "
            "http://127.0.0.1:7070; unset: a folder stores them."
        ),
        WITHOUT_PASSWORD,
    ] = None
    s3_access_key: Annotated[Key | None, Meta(description="Access key for the S3 server.")] = None
    s3_secret_key: Annotated[
        Annotated[str, Meta(min_length=8)] | None,
        Meta(description="Secret key for the S3 server."),
        SECRET,
    ] = None
    s3_bucket: Annotated[
        str, Meta(description="Bucket of the photos; created if it does not exist.", min_length=3)
    ] = _SERVER.bucket
    s3_region: Annotated[str, Meta(description="Region of the bucket.", min_length=1)] = (
        _SERVER.region
    )
    s3_ca_file: Annotated[
        str | None,
        Meta(
            description="File with the CA certificates that verify the server's certificate; "
            "unset: those of the system."
        ),
    ] = _SERVER.ca_file
    s3_connect_timeout_s: Annotated[
        float, Meta(description="Longest time to connect to the server.", gt=0, le=86_400)
    ] = _SERVER.connect_timeout_s
    s3_timeout_s: Annotated[
        float, Meta(description="Longest silence of the server during a call.", gt=0, le=86_400)
    ] = _SERVER.timeout_s
    s3_retries: Annotated[
        int, Meta(description="How often a failed call is retried.", ge=0, le=100)
    ] = _SERVER.retries
    s3_connections: Annotated[
        int,
        Meta(
            description="Maximum number of concurrent calls of a process to the server.",
            ge=1,
            le=1_000,
        ),
    ] = _SERVER.connections
    s3_part_bytes: Annotated[
        int,
        Meta(
            description="Size of the parts in which an upload is sent; each upload takes that "
            "much memory.",
            ge=5 << 20,
            le=1 << 30,
        ),
    ] = _SERVER.part_bytes
    s3_links: Annotated[
        bool,
        Meta(description="Redirect readers to the server with a signed URL, instead of the bytes."),
    ] = _SERVER.links
    s3_link_s: Annotated[
        int, Meta(description="How long a signed URL is valid.", ge=1, le=604_800)
    ] = _SERVER.link_s
    s3_public_endpoint: Annotated[
        HttpUrl | None,
        Meta(description="URL at which readers reach the server; unset: that of s3_endpoint."),
        WITHOUT_PASSWORD,
    ] = _SERVER.public_endpoint
    s3_copies_bytes: Annotated[
        int,
        Meta(
            description="Maximum size of the photos that a worker keeps on its disk for the next "
            "stages.",
            ge=0,
        ),
    ] = 256 << 20

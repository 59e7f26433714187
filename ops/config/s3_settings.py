"""The settings of a server of S3 that holds the photos; see ``ops.config.settings``."""

from typing import Annotated

import msgspec
from msgspec import Meta

Url = Annotated[str, Meta(pattern="^(http|https)://")]
Key = Annotated[str, Meta(min_length=3)]


class S3Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Those of ``store.blobs.s3_bucket.Server``, and what this machine keeps of it."""

    s3_endpoint: Annotated[
        Url | None,
        Meta(
            description="Server of S3, as MinIO, that holds the photos, as http://127.0.0.1:9000; "
            "unset: a folder."
        ),
    ] = None
    s3_access_key: Annotated[Key | None, Meta(description="Who we are at that server.")] = None
    s3_secret_key: Annotated[
        Annotated[str, Meta(min_length=8)] | None, Meta(description="What proves it.")
    ] = None
    s3_bucket: Annotated[
        str, Meta(description="Bucket of the photos; made unless it is there.", min_length=3)
    ] = "photolog"
    s3_region: Annotated[str, Meta(description="Region of the bucket.", min_length=1)] = "us-east-1"
    s3_ca_file: Annotated[
        str | None,
        Meta(description="File of the certificates that the server's has to be signed by."),
    ] = None
    s3_connect_timeout_s: Annotated[
        float, Meta(description="Longest time of connecting to the server.", gt=0, le=86_400)
    ] = 3.0
    s3_timeout_s: Annotated[
        float, Meta(description="Longest silence of the server.", gt=0, le=86_400)
    ] = 10.0
    s3_retries: Annotated[
        int, Meta(description="How often a call that failed is made again.", ge=0, le=100)
    ] = 2
    s3_connections: Annotated[
        int, Meta(description="Calls of a process to the server at once.", ge=1, le=1_000)
    ] = 16
    s3_part_bytes: Annotated[
        int,
        Meta(
            description="Part of an upload that is sent at once; each upload takes that memory.",
            ge=5 << 20,
            le=1 << 30,
        ),
    ] = 5 << 20
    s3_links: Annotated[
        bool,
        Meta(description="Send readers to the server, with a signed URL, instead of the bytes."),
    ] = False
    s3_link_s: Annotated[int, Meta(description="How long such a URL works.", ge=1, le=604_800)] = (
        300
    )
    s3_public_endpoint: Annotated[
        Url | None, Meta(description="Where readers reach the server; unset: where we do.")
    ] = None
    s3_copies_bytes: Annotated[
        int, Meta(description="Photos that a worker keeps for the next stages.", ge=0)
    ] = 256 << 20

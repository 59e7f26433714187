"""The settings of the S3 server that stores the blobs, and their defaults."""

import msgspec

BUCKET = "photolog"

SMALLEST_PART_BYTES = 5 << 20
"""S3 accepts no smaller part, except the last one."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The server's address, credentials and bounds.

    ``public_endpoint`` is the address of the server for clients, used in links; a link is valid for
    ``link_s`` seconds. ``connections`` is also the number of threads.
    """

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str = BUCKET
    region: str = "us-east-1"
    ca_file: str | None = None
    connect_timeout_s: float = 3.0
    timeout_s: float = 10.0
    retries: int = 2
    connections: int = 16
    part_bytes: int = SMALLEST_PART_BYTES
    links: bool = False
    link_s: int = 300
    public_endpoint: str | None = None

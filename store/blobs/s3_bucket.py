"""The calls that we make to a server of S3, and its errors as ours.

The calls block: they are for threads. Each ends within the time-outs and tries of its ``Server``.
A request that is safe to repeat is repeated after a lost reply, a failed connection, or 500, 502,
503 and 504; the end of a multipart upload is not.
"""

import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import BinaryIO, cast
from urllib.parse import urlsplit

import msgspec
import urllib3
from minio import Minio
from minio.error import S3Error
from minio.xml import Element, SubElement, getbytes
from urllib3.response import BaseHTTPResponse

from store.blobs.interface import BUCKET, Blob
from store.blobs.s3_errors import translated
from store.errors import Exists, Unavailable

DRAFT = "x-amz-meta-draft"
"""Names the draft that wrote a blob, so that its writer knows it again."""

SMALLEST_PART_BYTES = 5 << 20
"""S3 takes no smaller part, but for the last one."""

_RETRIED_STATUSES = (500, 502, 503, 504)
_PAUSE_S = 0.1
_TRIES = 3

_Headers = dict[str, str | list[str] | tuple[str]]


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where the bucket is, who we are there, and the bounds of talking to it.

    ``public_endpoint`` is where others than we reach it, for links; they last ``link_s`` seconds.
    ``connections`` are also the threads.
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


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a blob without its bytes. ``draft`` names the one that wrote it."""

    size: int
    draft: str | None


class Chunk(msgspec.Struct, frozen=True):
    """Some bytes of a blob; ``etag`` is that of the blob as they were read."""

    data: bytes
    etag: str


class Bucket(Minio):
    """One bucket. Raises Unavailable where nothing else is said."""

    def __init__(self, server: Server) -> None:
        self.name = server.bucket
        self._server = server
        self._is_conditional = True
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=server.connect_timeout_s, read=server.timeout_s),
            maxsize=server.connections,
            block=True,
            retries=urllib3.Retry(
                total=server.retries,
                backoff_factor=_PAUSE_S,
                status_forcelist=_RETRIED_STATUSES,
                raise_on_status=False,
                respect_retry_after_header=False,
            ),
            cert_reqs=ssl.CERT_REQUIRED,
            ca_certs=server.ca_file,
        )
        super().__init__(
            _host(server.endpoint),
            access_key=server.access_key,
            secret_key=server.secret_key,
            secure=server.endpoint.startswith("https:"),
            region=server.region,
            http_client=self._pool,
        )
        self._signer: Minio = self
        if server.public_endpoint is not None:
            # A signature is over the host, too. It sends nothing: the region is known.
            self._signer = Minio(
                _host(server.public_endpoint),
                access_key=server.access_key,
                secret_key=server.secret_key,
                secure=server.public_endpoint.startswith("https:"),
                region=server.region,
                http_client=self._pool,
            )

    def close(self) -> None:
        self._pool.clear()

    def prepare(self) -> None:
        """Make the bucket unless it is there."""
        with self._translated():
            try:
                # Not by HEAD, whose answer has no body that tells what is wrong.
                next(self._listed(""), None)
            except S3Error as error:
                if error.code != "NoSuchBucket":
                    raise
                self._make()

    def reach(self) -> None:
        """See whether the bucket answers."""
        with self._translated():
            if not self.bucket_exists(self.name):
                raise Unavailable(f"the blob server has no bucket {self.name}")

    def put(self, key: str, data: bytes) -> None:
        """Store a blob, in place of any that is there."""
        with self._translated(key):
            _retry_beside_deletes(lambda: self._put_object(self.name, key, data))

    def create(self, key: str, data: bytes, draft: str) -> None:
        """Store a blob; raises Exists if there is one."""

        def put(condition: _Headers) -> None:
            headers: _Headers = {DRAFT: draft, **condition}
            _retry_beside_deletes(lambda: self._put_object(self.name, key, data, headers))

        with self._translated(key):
            self._create(key, put)

    def begin(self, key: str, draft: str) -> str:
        """The id of a new multipart upload."""
        with self._translated(key):
            return self._create_multipart_upload(self.name, key, {DRAFT: draft})

    def put_part(self, key: str, upload: str, number: int, data: bytes) -> str:
        """The ETag of the part; parts count from 1."""
        with self._translated(key):
            return self._upload_part(self.name, key, data, None, upload, number)

    def complete(self, key: str, upload: str, etags: list[str]) -> None:
        """Make the blob of its parts; raises Exists if there is one, Missing without the upload."""
        request = Element("CompleteMultipartUpload")
        for number, etag in enumerate(etags, 1):
            part = SubElement(request, "Part")
            SubElement(part, "PartNumber", str(number))
            SubElement(part, "ETag", f'"{etag}"')

        def post(condition: _Headers) -> None:
            answer = self._execute(
                "POST",
                self.name,
                key,
                body=getbytes(request),
                headers={"Content-Type": "application/xml", **condition},
                query_params={"uploadId": upload},
            )
            if b"<Error>" in answer.data:  # it may answer 200 before it finds that it cannot
                raise S3Error.fromxml(answer)

        with self._translated(key):
            self._create(key, post)

    def abort(self, key: str) -> None:
        """Give up every multipart upload of the key."""
        with self._translated(key):
            for upload in self._list_multipart_uploads(self.name, prefix=key).uploads:
                if upload.object_name == key:
                    self._abort_multipart_upload(self.name, key, cast("str", upload.upload_id))

    def head(self, key: str) -> Head:
        """Raises Missing."""
        with self._translated(key):
            found = self.stat_object(self.name, key)
            headers = cast("Mapping[str, str]", found.metadata or {})
            return Head(size=found.size or 0, draft=headers.get(DRAFT))

    def get(self, key: str, start: int, length: int, etag: str | None) -> Chunk | None:
        """Some bytes, fewer only at the blob's end; None if it has none there.

        Raises:
            Missing: there is no blob.
            Unavailable: it is not the one of the ``etag`` any more, or the server is away.
        """
        condition: _Headers | None = {"If-Match": f'"{etag}"'} if etag else None
        with self._translated(key):
            try:
                answer = self.get_object(
                    self.name, key, offset=start, length=length, request_headers=condition
                )
            except S3Error as error:
                if error.code == "InvalidRange":
                    return None
                if error.code == "PreconditionFailed":
                    raise Unavailable(f"blob {key} was replaced while it was read") from error
                raise
            with _released(answer):
                return Chunk(answer.read(), answer.headers.get("etag", "").strip('"'))

    def download(self, key: str, file: BinaryIO, chunk_bytes: int) -> None:
        """Write the whole blob to the file; raises Missing."""
        with self._translated(key):
            answer = self.get_object(self.name, key)
            with _released(answer):
                file.writelines(answer.stream(chunk_bytes))

    def remove(self, key: str) -> None:
        """Nothing happens if there is no such blob."""
        with self._translated(key):
            self.remove_object(self.name, key)

    def blobs(self, prefix: str) -> list[Blob]:
        """All blobs whose key starts with the prefix, in order of key."""
        with self._translated():
            return list(self._listed(prefix))

    @property
    def link_origin(self) -> str | None:
        server = self._server
        return (server.public_endpoint or server.endpoint).rstrip("/") if server.links else None

    def link(self, key: str, mime_type: str, disposition: str) -> str | None:
        """A URL that gives the blob for a while, to anyone; None unless links are switched on."""
        origin = self.link_origin
        if origin is None:
            return None
        return self._signer.presigned_get_object(
            self.name,
            key,
            expires=timedelta(seconds=self._server.link_s),
            response_headers={
                "response-content-type": mime_type,
                "response-content-disposition": disposition,
                "response-cache-control": "private, max-age=31536000, immutable",
            },
        )

    def _make(self) -> None:
        try:
            self.make_bucket(self.name)
        except S3Error as error:
            if error.code != "BucketAlreadyOwnedByYou":  # another process was quicker
                raise

    def _listed(self, prefix: str) -> Iterator[Blob]:
        for found in self.list_objects(self.name, prefix, recursive=True):
            modified = found.last_modified
            yield Blob(
                key=cast("str", found.object_name),
                size=found.size or 0,
                modified=modified.timestamp() if modified else 0.0,
            )

    def _create(self, key: str, call: Callable[[_Headers], None]) -> None:
        """Where the server knows no conditions, it is asked before whether there is a blob."""
        if self._is_conditional:
            try:
                return call({"If-None-Match": "*"})
            except S3Error as error:
                if error.code != "NotImplemented":
                    raise
            self._is_conditional = False
        try:
            self.stat_object(self.name, key)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise
            return call({})
        raise Exists(f"there is a blob {key} already")

    def _translated(self, key: str = "") -> AbstractContextManager[None]:
        return translated(self._server.endpoint, self.name, key)


def _retry_beside_deletes(put: Callable[[], object]) -> None:
    """MinIO denies a put also when a delete takes the emptied folder away from under it."""
    for _ in range(_TRIES - 1):
        try:
            put()
        except S3Error as error:
            if error.code != "AccessDenied":
                raise
        else:
            return
    put()


@contextmanager
def _released(answer: BaseHTTPResponse) -> Generator[None]:
    """Give the connection back; one with bytes left on it is closed."""
    try:
        yield
    finally:
        answer.close()
        answer.release_conn()


def _host(endpoint: str) -> str:
    return urlsplit(endpoint).netloc

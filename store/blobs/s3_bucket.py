"""The calls to an S3 server that Photolog makes.

They block, so they run in threads. Each ends within the time-outs and tries of its ``Server``. A
request that is safe to repeat is retried after a lost reply, a failed connection, or status 500,
502, 503 or 504; the completion of a multipart upload is not. Errors are StoreErrors.
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

from store.blobs.interface import Blob
from store.blobs.s3_errors import translated
from store.blobs.s3_server import Server
from store.errors import Exists, Unavailable

DRAFT = "x-amz-meta-draft"
"""The header that names the draft that wrote a blob, so that its writer recognizes it."""

_RETRIED_STATUSES = (500, 502, 503, 504)
_PAUSE_S = 0.1
_TRIES = 3

_Headers = dict[str, str | list[str] | tuple[str]]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of a blob. ``draft`` names the draft that wrote it."""

    size: int
    draft: str | None


class Chunk(msgspec.Struct, frozen=True):
    """Some bytes of a blob; ``etag`` is the blob's ETag at the time of the read."""

    data: bytes
    etag: str


class Bucket(Minio):
    """One bucket. All calls raise Unavailable, besides the errors that they name."""

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
            # A signature covers the host, too. This client sends no requests: the region is known.
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
        """Create the bucket if it does not exist."""
        with self._translated():
            try:
                # Not with HEAD, whose response has no body that says what is wrong.
                next(self._listed(""), None)
            except S3Error as error:
                if error.code != "NoSuchBucket":
                    raise
                self._make()

    def reach(self) -> None:
        """Check that the bucket answers."""
        with self._translated():
            if not self.bucket_exists(self.name):
                raise Unavailable(f"the blob server has no bucket {self.name}")

    def put(self, key: str, data: bytes) -> None:
        """Store a blob, replacing any blob under the key."""
        with self._translated(key):
            _retry_beside_deletes(lambda: self._put_object(self.name, key, data))

    def create(self, key: str, data: bytes, draft: str, *, replace: bool = False) -> None:
        """Store a blob; raises Exists if the key is taken, unless ``replace``."""

        def put(condition: _Headers) -> None:
            headers: _Headers = {DRAFT: draft, **condition}
            _retry_beside_deletes(lambda: self._put_object(self.name, key, data, headers))

        with self._translated(key):
            self._create(key, put, replace=replace)

    def begin(self, key: str, draft: str) -> str:
        """Begin a multipart upload; return its id."""
        with self._translated(key):
            return self._create_multipart_upload(self.name, key, {DRAFT: draft})

    def put_part(self, key: str, upload: str, number: int, data: bytes) -> str:
        """Upload a part, numbered from 1; return its ETag."""
        with self._translated(key):
            return self._upload_part(self.name, key, data, None, upload, number)

    def complete(self, key: str, upload: str, etags: list[str], *, replace: bool = False) -> None:
        """Complete a multipart upload.

        Raises:
            Exists: the key is taken, and not to ``replace``.
            Missing: the upload was not begun.
        """
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
            if b"<Error>" in answer.data:  # a response of 200 may still carry an error
                raise S3Error.fromxml(answer)

        with self._translated(key):
            self._create(key, post, replace=replace)

    def abort(self, key: str) -> None:
        """Abort every multipart upload of the key."""
        with self._translated(key):
            for upload in self._list_multipart_uploads(self.name, prefix=key).uploads:
                if upload.object_name == key:
                    self._abort_multipart_upload(self.name, key, cast("str", upload.upload_id))

    def head(self, key: str) -> Head:
        """Return the blob's metadata; raises Missing."""
        with self._translated(key):
            found = self.stat_object(self.name, key)
            headers = cast("Mapping[str, str]", found.metadata or {})
            return Head(size=found.size or 0, draft=headers.get(DRAFT))

    def get(self, key: str, start: int, length: int, etag: str | None) -> Chunk | None:
        """Read ``length`` bytes, fewer only at the blob's end; None if ``start`` is beyond it.

        Raises:
            Missing: there is no blob.
            Unavailable: the blob no longer has the ``etag``, or the server is unavailable.
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
        """Remove the blob, if it exists."""
        with self._translated(key):
            self.remove_object(self.name, key)

    def blobs(self, prefix: str) -> list[Blob]:
        """Return all blobs whose key starts with the prefix, in order of key."""
        with self._translated():
            return list(self._listed(prefix))

    @property
    def link_origin(self) -> str | None:
        server = self._server
        return (server.public_endpoint or server.endpoint).rstrip("/") if server.links else None

    def link(self, key: str, mime_type: str, disposition: str) -> str | None:
        """Return a temporary URL of the blob that works for anyone; None if links are disabled."""
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
            if error.code != "BucketAlreadyOwnedByYou":  # another process has created it
                raise

    def _listed(self, prefix: str) -> Iterator[Blob]:
        for found in self.list_objects(self.name, prefix, recursive=True):
            modified = found.last_modified
            yield Blob(
                key=cast("str", found.object_name),
                size=found.size or 0,
                modified=modified.timestamp() if modified else 0.0,
            )

    def _create(self, key: str, call: Callable[[_Headers], None], *, replace: bool = False) -> None:
        """Create with a condition; without support for it, check first whether the key is taken."""
        if replace:
            return call({})
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
        raise Exists(f"blob {key} already exists")

    def _translated(self, key: str = "") -> AbstractContextManager[None]:
        return translated(self._server.endpoint, self.name, key)


_FOLDER_IN_THE_WAY = ("AccessDenied", "ExistingObjectIsDirectory")
"""How MinIO and the Versity S3 Gateway deny it."""


def _retry_beside_deletes(put: Callable[[], object]) -> None:
    """Retry a put that the server denies because a concurrent delete removes the emptied folder."""
    for _ in range(_TRIES - 1):
        try:
            put()
        except S3Error as error:
            if error.code not in _FOLDER_IN_THE_WAY:
                raise
        else:
            return
    put()


@contextmanager
def _released(answer: BaseHTTPResponse) -> Generator[None]:
    """Return the connection to the pool; close it if unread bytes are left."""
    try:
        yield
    finally:
        answer.close()
        answer.release_conn()


def _host(endpoint: str) -> str:
    return urlsplit(endpoint).netloc

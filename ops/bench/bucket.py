"""A temporary bucket for a measurement, on the S3 server that the settings name."""

import io
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager

import msgspec

from store.blobs.s3_bucket import Bucket
from store.blobs.s3_server import Server


@contextmanager
def own_bucket(server: Server) -> Generator[Bucket]:
    """Create a bucket, and remove it with everything in it when the block ends."""
    name = f"photolog-bench-{uuid.uuid4().hex[:12]}"
    bucket = Bucket(msgspec.structs.replace(server, bucket=name))
    try:
        bucket.prepare()
        try:
            yield bucket
        finally:
            for blob in bucket.blobs(""):
                bucket.remove(blob.key)
            bucket.remove_bucket(name)
    finally:
        bucket.close()


def sdk_mb_s(bucket: Bucket, content: bytes, part_bytes: int) -> float:
    """Return the MB/s at which the SDK alone writes the bytes, as a stream of unknown length."""
    began = time.perf_counter()
    bucket.put_object(
        bucket.name, "probes/bench", io.BytesIO(content), length=-1, part_size=part_bytes
    )
    return len(content) / 1e6 / (time.perf_counter() - began)

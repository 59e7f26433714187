"""A measurement on an S3 server leaves nothing there."""

from ops.bench.bucket import own_bucket, sdk_mb_s
from store.blobs.s3_server import Server


def test_the_bucket_of_a_measurement_is_removed_afterwards(bucket: Server) -> None:
    content = bytes(12_000_000)
    with own_bucket(bucket) as own:
        speed = sdk_mb_s(own, content, bucket.part_bytes)
        stored = [blob.size for blob in own.blobs("")]

        assert own.bucket_exists(own.name)

    assert speed > 0
    assert stored == [len(content)]

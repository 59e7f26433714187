"""How much of its quotas a client uses: the sum over its photos."""

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Photos that are not deleted, bytes that are stored, and jobs that have not ended."""

    photos: int = 0
    bytes: int = 0
    jobs: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            photos=self.photos + other.photos,
            bytes=self.bytes + other.bytes,
            jobs=self.jobs + other.jobs,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            photos=self.photos - other.photos,
            bytes=self.bytes - other.bytes,
            jobs=self.jobs - other.jobs,
        )


NOTHING = Usage()

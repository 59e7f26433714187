"""Name the place of a credential, for code that does not talk to Redis itself."""

import msgspec


class CredentialPlace(msgspec.Struct, frozen=True):
    """The place of a credential in Redis; it does not allow anyone to sign in."""

    partition: int
    digest: str

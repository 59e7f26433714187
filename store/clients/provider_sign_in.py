"""Say which sign-in at an OpenID provider a session comes from, for code without Redis."""

import msgspec


class ProviderSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that the provider can end.

    ``marks`` are digests of what a sign-out can name: the person, or the session at the provider.
    ``at_s`` is when the provider issued the ID token, in seconds since 1970 by its own clock.
    """

    marks: tuple[str, ...]
    at_s: int

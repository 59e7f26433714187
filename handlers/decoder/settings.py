"""The settings of decoders and their defaults."""

import msgspec


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """When a picture counts as one that takes long, in seconds.

    ``expensive_s`` of expected processor time; a photo of 20 megapixels takes a fifth of it in any
    format. ``slow_s`` of real time, for a busy machine or a file that decodes slower than its
    header suggests. Of several decoders, one is always left for quicker pictures.
    """

    expensive_s: float = 2.0
    slow_s: float = 10.0


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """The rights to give up besides those that are always given up.

    ``user`` is the name or number of the user to become; if empty, stay the worker's user.
    """

    seccomp: bool = True
    landlock: bool = True
    user: str = "nobody"

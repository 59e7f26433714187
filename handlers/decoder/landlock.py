"""Landlock for the decoder process: no file system, no network, no signals to others.

Sources: the kernel's ``userspace-api/landlock.rst`` and ``linux/landlock.h``. Descriptors that are
open, or are received later, stay usable: rights are checked when a path is opened.
"""

import ctypes
import os
import struct
import sys

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
"""System call numbers; calls added since 2019 have the same number on all architectures."""

_ASK_VERSION = 1

_FILES = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Rights on files by the version of Landlock that introduced them. All are taken away."""

_NETWORK_SINCE, _NETWORK = 4, 0b11  # to bind and to connect TCP
_SCOPES_SINCE, _SCOPES = 6, 0b11  # abstract Unix sockets and signals


def version() -> int:
    """Return the version that the kernel offers; 0 if it has no Landlock or has disabled it."""
    if sys.platform != "linux":
        return 0
    found = ctypes.CDLL(None, use_errno=True).syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)
    return max(0, found)


def restrict() -> tuple[str, ...] | None:
    """Drop, permanently, every right of this thread that Landlock can restrict.

    Returns what this kernel's version does not cover (``landlock-network``, ``landlock-signals``);
    None without Landlock. The process must have ``no_new_privs``.
    """
    offered = version()
    files = sum(rights for since, rights in _FILES.items() if offered >= since)
    network = _NETWORK if offered >= _NETWORK_SINCE else 0
    scopes = _SCOPES if offered >= _SCOPES_SINCE else 0
    fields = [files]
    if network:
        fields.append(network)
    if scopes:
        fields.append(scopes)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    libc = ctypes.CDLL(None, use_errno=True)
    if not offered:
        return None
    rules = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return None
    try:
        if libc.syscall(_RESTRICT_SELF, rules, 0) != 0:
            return None
    finally:
        os.close(rules)
    return (() if network else ("landlock-network",)) + (() if scopes else ("landlock-signals",))

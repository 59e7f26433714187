"""The sandbox: what the decoder process gives up before it sees the first byte of a photo.

| given up | how | where |
|---|---|---|
| the worker's environment, folder, files | it gets none of them | everywhere |
| files, processes, larger limits | ``setrlimit`` | everywhere |
| the worker's user | ``setuid``, if the worker may | everywhere |
| new privileges, capabilities, debuggers | ``prctl``, ``capset`` | Linux |
| paths, TCP, signals to others | Landlock | Linux 5.13, all of it 6.12 |
| all system calls that decoding does not need | seccomp | Linux on x86-64 and aarch64 |

A protection that the system does not offer is skipped and reported; decoding continues without it.
"""

import contextlib
import ctypes
import os
import pwd
import resource
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from handlers.decoder import landlock, seccomp
from handlers.decoder.settings import Sandbox
from handlers.parent_death import die_with

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38  # linux/prctl.h
_CAPABILITIES_3 = 0x20080522  # linux/capability.h, as the numbers below
_TO_SWITCH_AND_KILL = 1 << 5 | 1 << 6 | 1 << 7  # CAP_KILL, CAP_SETGID, CAP_SETUID
_TO_LIMIT = 1 << 24  # CAP_SYS_RESOURCE

_NOBODY = 65_534
"""The id of ``nobody`` on systems without a user of that name."""

MAX_FILES = 16
"""Descriptors: the socket, three times /dev/null, the photo, and some to spare."""

_INHERITABLE = 1_024
"""Descriptors from here on are left open: none is inherited, and no import opens so many."""

MAX_THREADS = 1_024
"""For all decoders together, if they run as a user of their own."""

NO_NEW_PRIVILEGES, OWN_USER = "no-new-privileges", "own-user"
LANDLOCK, SECCOMP = "landlock", "seccomp"


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """The active and missing parts of a decoder's sandbox, by the names that health shows."""

    active: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def weakest(found: Sequence[Confinement]) -> Confinement:
    """Return the parts that are active in all of them, and those that any of them lacks."""
    missing = dict.fromkeys(name for each in found for name in each.missing)
    active = dict.fromkeys(name for each in found for name in each.active)
    return Confinement(
        active=tuple(name for name in active if name not in missing), missing=tuple(missing)
    )


def identity(user: str) -> tuple[int, int] | None:
    """Return the user and group id of ``user``; None if this process may not or need not switch.

    Raises KeyError for a user that does not exist on this machine.
    """
    if user.isdecimal():
        found = int(user), int(user)
    elif user:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            if user != Sandbox().user:
                raise
            found = _NOBODY, _NOBODY
        else:
            found = entry.pw_uid, entry.pw_gid
    else:
        return None
    return found if found[0] != os.geteuid() and _may_become_another() else None


def may_limit(become: tuple[int, int] | None) -> bool:
    """Return whether this process may set the limits of a child that becomes another user."""
    if sys.platform != "linux":
        return False
    return become is None or _capabilities() & _TO_LIMIT != 0


def _may_become_another() -> bool:
    """Return whether this process can switch users, and kill a child that has."""
    if sys.platform != "linux":
        return os.geteuid() == 0
    return _capabilities() & _TO_SWITCH_AND_KILL == _TO_SWITCH_AND_KILL


def _capabilities() -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


def enter(
    sandbox: Sandbox, become: tuple[int, int] | None, *, keep: int, limits_itself: bool
) -> Confinement:
    """Give up everything except the descriptors up to ``keep``, permanently.

    ``limits_itself`` leaves the process the right to set its own memory limit.

    Raises:
        OSError: switching the user failed although it is allowed; the process must not continue.
    """
    parent = os.getppid()
    os.environ.clear()
    os.chdir("/")
    os.umask(0o077)
    os.closerange(keep + 1, _INHERITABLE)
    _offer_to_the_oom_killer()
    _limit(resource.RLIMIT_NOFILE, MAX_FILES)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)  # a core dump would contain somebody's photo
    active: list[str] = []
    missing: list[str] = []
    if become is not None:
        _become(*become)
        active.append(OWN_USER)
    elif sandbox.user:
        missing.append(OWN_USER)
    if sys.platform == "linux":
        _confine(sandbox, parent, limits_itself, active, missing)
    else:
        missing += [NO_NEW_PRIVILEGES, LANDLOCK, SECCOMP]
    return Confinement(active=tuple(active), missing=tuple(missing))


def _limit(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (most, most))


def _offer_to_the_oom_killer() -> None:
    """Be killed first when memory runs out: a decoder can be replaced, the log's server cannot."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _become(user: int, group: int) -> None:
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    _limit(resource.RLIMIT_NPROC, MAX_THREADS)


def _confine(
    sandbox: Sandbox, parent: int, limits_itself: bool, active: list[str], missing: list[str]
) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.capset(struct.pack("=Ii", _CAPABILITIES_3, 0), bytes(24))
    unprivileged = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and _capabilities() == 0
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    die_with(parent)  # again: switching the user has reset it
    alone = seccomp.threads() == 1
    lacking = landlock.restrict() if sandbox.landlock and alone else None
    for name, done in (
        (NO_NEW_PRIVILEGES, unprivileged),
        (LANDLOCK, lacking is not None),
        (SECCOMP, sandbox.seccomp and seccomp.install(alone=alone, limits_itself=limits_itself)),
    ):
        (active if done else missing).append(name)
    missing += lacking or ()

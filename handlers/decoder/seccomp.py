"""A seccomp filter for the decoder process: the system calls that decoding needs, and no others.

The filter is an allow-list. Other calls fail with ``EPERM``, which a library survives that only
probes its environment, for example for an optional module. A call that only an attacker's code
makes in a decoder ends the process with ``SIGSYS``. The filter is classic BPF (see
``linux/filter.h`` and the kernel's ``userspace-api/seccomp_filter.rst``) and covers every thread.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from handlers.decoder import system_calls as calls

_PR_SET_SECCOMP = 22  # linux/prctl.h
_MODE_FILTER = 2  # linux/seccomp.h, as all up to _RET_ERRNO
_SET_MODE_FILTER = 1
_TSYNC = 1
_RET_KILL_PROCESS = 0x80000000
_RET_ALLOW = 0x7FFF0000
_RET_ERRNO = 0x00050000

_NR, _ARCH, _ARGS = 0, 4, 16
"""Offsets in ``struct seccomp_data``; its arguments take eight bytes each."""

# BPF opcodes, linux/bpf_common.h
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_EQUAL, _JUMP_SET, _JUMP_GREATER_EQUAL = 0x15, 0x45, 0x35

_X32_BIT = 0x40000000
_PROT_EXEC = 4
_THREAD = 0x00010000 | 0x00000100
"""CLONE_THREAD and CLONE_VM: a thread of this process, not another process."""


class _Machine(msgspec.Struct, frozen=True):
    """``arch`` is its AUDIT_ARCH (linux/audit.h), ``column`` its column in the tables."""

    arch: int
    column: int


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 0),
    "aarch64": _Machine(0xC00000B7, 1),
}


def _instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


def _answer(result: int) -> bytes:
    return _instruction(_RETURN, result)


_KILL = _answer(_RET_KILL_PROCESS)
_ALLOW = _answer(_RET_ALLOW)
_REFUSE = _answer(_RET_ERRNO | errno.EPERM)
_UNKNOWN = _answer(_RET_ERRNO | errno.ENOSYS)


def _if(number: int, then: bytes) -> bytes:
    """Run ``then``, which must return, if the call has that number."""
    return _instruction(_JUMP_EQUAL, number, 0, len(then) // 8) + then


def _argument(index: int, half: int = 0) -> bytes:
    """Load the low or the high half of an argument; both machines are little-endian."""
    return _instruction(_LOAD, _ARGS + 8 * index + 4 * half)


def _zero_or_refuse(*halves: bytes) -> bytes:
    return b"".join(half + _instruction(_JUMP_EQUAL, 0, 1, 0) + _REFUSE for half in halves)


def program(machine: str, process: int, *, limits_itself: bool = False) -> bytes:
    """Return the filter for the process with that id, in the kernel's binary form.

    ``machine`` is a value of ``platform.machine()``; ``limits_itself`` allows setting RLIMIT_AS.
    Raises KeyError for a machine without tables here.
    """
    arch, column = _MACHINES[machine].arch, _MACHINES[machine].column

    def of(table: Iterable[tuple[int | None, int | None]]) -> list[int]:
        found = [each[column] for each in table]
        return [number for number in found if number is not None]

    # Another architecture's numbers mean other calls: i386 on x86-64, and there also x32.
    code = _instruction(_LOAD, _ARCH) + _instruction(_JUMP_EQUAL, arch, 1, 0) + _KILL
    code += _instruction(_LOAD, _NR)
    code += _instruction(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1) + _KILL
    for number in of(calls.ALLOWED.values()):
        code += _if(number, _ALLOW)
    for number in of(calls.HOSTILE.values()):
        code += _if(number, _KILL)
    without_code = _argument(2) + _instruction(_JUMP_SET, _PROT_EXEC, 0, 1) + _REFUSE + _ALLOW
    a_thread = _argument(0) + _instruction(_AND, _THREAD)
    a_thread += _instruction(_JUMP_EQUAL, _THREAD, 1, 0) + _REFUSE + _ALLOW
    at_itself = _argument(0) + _instruction(_JUMP_EQUAL, process, 1, 0) + _REFUSE + _ALLOW
    # The process may read its own limits only, and set one of them.
    reading = _zero_or_refuse(_argument(0))
    if limits_itself:
        reading += _argument(1) + _if(resource.RLIMIT_AS, _ALLOW)
    reading += _zero_or_refuse(_argument(2), _argument(2, 1)) + _ALLOW
    for call, then in (
        (calls.MMAP, without_code),
        (calls.MPROTECT, without_code),
        (calls.CLONE, a_thread),
        # Its flags are in memory, which a filter cannot read: the C library falls back to clone.
        (calls.CLONE3, _UNKNOWN),
        (calls.TGKILL, at_itself),
        (calls.PRLIMIT, reading),
    ):
        code += _if(call[column], then)
    return code + _REFUSE


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(*, alone: bool, limits_itself: bool) -> bool:
    """Confine this process permanently; return False if the filter cannot be installed.

    The process must have ``no_new_privs``; ``alone`` says that it has one thread.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES or struct.calcsize("P") != 8:
        return False
    code = program(machine, os.getpid(), limits_itself=limits_itself)
    buffer = ctypes.create_string_buffer(code, len(code))
    argument = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    number = calls.SECCOMP[_MACHINES[machine].column]
    if libc.syscall(number, _SET_MODE_FILTER, _TSYNC, ctypes.byref(argument)) == 0:
        return True
    # Some service managers and containers forbid this call, but not its older form, which
    # covers only the calling thread.
    return alone and libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(argument), 0, 0) == 0


def threads() -> int:
    """Return how many threads this process has."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())

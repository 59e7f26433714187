"""Stages that attack as code in a compromised decoder would, and report how far they get.

The test writes the targets into a module ``attack_targets``: nothing else reaches a decoder.
"""

import ctypes
import errno
import importlib
import mmap
import os
import platform
import resource
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from domain.photo.results import Result
from handlers.decoder.protocol import HEADER, Done, frame
from handlers.imaging.picture import Picture
from handlers.registry import STAGES, Stage
from handlers.stage import Made, Output, StageContext


def _targets() -> Any:
    try:
        return importlib.import_module("attack_targets")
    except ModuleNotFoundError:  # imported by the tests, which only need the names
        return None


TARGETS = _targets()

_libc = ctypes.CDLL(None, use_errno=True)
_ON_X86 = platform.machine() == "x86_64"
PARENT = os.getppid()


class Tried(Result, frozen=True, kw_only=True):
    """The result of an attack; ``refused`` is None if it succeeded."""

    refused: str | None


def _call(x86: int, arm: int, *arguments: Any) -> None:
    if _libc.syscall(x86 if _ON_X86 else arm, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def open_the_secret() -> None:
    os.close(os.open(TARGETS.SECRET, os.O_RDONLY))


def list_the_data_folder() -> None:
    list(Path(TARGETS.FOLDER).iterdir())


def delete_the_secret() -> None:
    Path(TARGETS.SECRET + ".bak").unlink()


def write_a_file() -> None:
    os.close(os.open(TARGETS.FOLDER + "/planted", os.O_CREAT | os.O_WRONLY))


def open_beside_the_photo() -> None:
    os.close(os.open("../secret", os.O_RDONLY, dir_fd=_handed_file()))


def reopen_the_photo_for_writing() -> None:
    os.close(os.open(f"/proc/self/fd/{_handed_file()}", os.O_RDWR))


def write_into_the_photo() -> None:
    os.write(_handed_file(), b"x")


def connect_to_the_log() -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(TARGETS.SOCKET)


def connect_over_tcp() -> None:
    with socket.socket() as line:
        line.connect(("127.0.0.1", TARGETS.PORT))


def send_over_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(b"x", ("127.0.0.1", TARGETS.PORT))


def resolve_a_name() -> None:
    socket.getaddrinfo(b"localhost", 80)


def run_a_program() -> None:
    os.execv("/bin/true", ["true"])


def run_a_program_from_memory() -> None:
    os.close(os.memfd_create("x"))


def execute_a_descriptor() -> None:
    _call(322, 281, 0, b"/bin/true", None, None, 0)


def fork() -> None:
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)


def signal_the_worker() -> None:
    os.kill(PARENT, 0)


def signal_a_thread_of_the_worker() -> None:
    _call(234, 131, PARENT, PARENT, 0)


def trace_the_worker() -> None:
    _call(101, 117, 0x4206, PARENT, None, None)


def read_the_workers_memory() -> None:
    _call(310, 270, PARENT, None, 0, None, 0, 0)


def read_the_workers_environment() -> None:
    os.close(os.open(f"/proc/{PARENT}/environ", os.O_RDONLY))


def open_the_workers_memory() -> None:
    os.close(os.open(f"/proc/{PARENT}/mem", os.O_RDWR))


def raise_the_file_limit() -> None:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    except ValueError as error:
        raise PermissionError from error


def limit_the_worker() -> None:
    resource.prlimit(PARENT, resource.RLIMIT_CORE, (0, 0))


def become_dumpable() -> None:
    if _libc.prctl(4, 1, 0, 0, 0) != 0:
        raise PermissionError


def map_executable_memory() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def set_up_io_uring() -> None:
    _call(425, 425, 8, ctypes.create_string_buffer(120))


def set_up_userfaultfd() -> None:
    _call(323, 282, 0)


def leave_the_namespaces() -> None:
    _call(272, 97, 0x10000000)


def call_by_another_architecture() -> None:
    """Call getpid by its x32 number; on aarch64, call an unused number."""
    _call(0x40000000 + 39, 0x40000000)


def load_a_bpf_program() -> None:
    _call(321, 280, 0, None, 0)


ATTACKS: tuple[Callable[[], None], ...] = (
    *(open_the_secret, list_the_data_folder, delete_the_secret, write_a_file),
    *(open_beside_the_photo, reopen_the_photo_for_writing, write_into_the_photo),
    *(connect_to_the_log, connect_over_tcp, send_over_udp, resolve_a_name),
    *(run_a_program, run_a_program_from_memory, execute_a_descriptor, fork),
    *(signal_the_worker, signal_a_thread_of_the_worker, trace_the_worker),
    *(read_the_workers_memory, read_the_workers_environment, open_the_workers_memory),
    *(raise_the_file_limit, limit_the_worker, become_dumpable, map_executable_memory),
    *(set_up_io_uring, set_up_userfaultfd, leave_the_namespaces, load_a_bpf_program),
    call_by_another_architecture,
)


def _trying(attack: Callable[[], None]) -> Callable[[Picture, StageContext], Output]:
    def run(_picture: Picture, _context: StageContext) -> Output:
        try:
            attack()
        except OSError as error:
            return Output(result=Tried(refused=type(error).__name__))
        return Output(result=Tried(refused=None))

    return run


def _handed_file() -> int:
    return next(each for each in range(3, 16) if _length(each) > 0)


def _line_to_the_worker() -> int:
    return next(each for each in range(3, 16) if _length(each) == -errno.ESPIPE)


def _length(descriptor: int) -> int:
    """Return the length of an open file, or a negated error number: ESPIPE for a socket."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    except OSError as error:
        return -(error.errno or 0)


def _made(**changes: Any) -> Made:
    made = Made(name="x", mime_type="image/webp", width=1, height=1, data=b"RIFF\0\0\0\0WEBPVP8 ")
    return msgspec.structs.replace(made, **changes)


def _done(result: bytes = b"\x81\xa7refused\xc0", *made: Made) -> bytes:
    return frame(Done(result=msgspec.Raw(result), renditions=made, held=()))


def _costly() -> bytes:
    cost = msgspec.msgpack.encode({"memory_bytes": -1, "seconds": float("nan"), "pixels": 0})
    body = msgspec.msgpack.encode({"type": "Costly", "cost": msgspec.Raw(cost), "held": ()})
    return HEADER.pack(len(body)) + body


LIES: dict[str, tuple[str, bytes]] = {
    "a length of four gigabytes": ("decoder-died", struct.pack(">I", 0xFFFFFFFF)),
    "bytes that are no answer": ("decoder-died", HEADER.pack(4) + b"\xc1\xc1\xc1\xc1"),
    "an answer nested too deeply": ("decoder-died", HEADER.pack(99_999) + b"\x91" * 99_999),
    "a result of another kind": ("bad-answer", _done(b"\x93\x01\x02\x03")),
    "a result that is too large": ("bad-answer", _done(msgspec.msgpack.encode("x" * 99_999))),
    "too many pictures": (
        "bad-answer",
        _done(b"\x80", *(_made(name=str(number)) for number in range(17))),
    ),
    "a path for a name": ("bad-answer", _done(b"\x80", _made(name="../../secret"))),
    "two pictures of the same name": ("bad-answer", _done(b"\x80", _made(), _made())),
    "a page for a picture": ("bad-answer", _done(b"\x80", _made(data=b"<script>"))),
    "a page's type for a picture": ("bad-answer", _done(b"\x80", _made(mime_type="text/html"))),
    "a picture without width": ("bad-answer", _done(b"\x80", _made(width=0))),
    "a negative cost": ("bad-answer", _costly()),
    "a picture that is no picture": ("bad-answer", _done(b"\x80", _made(data=b""))),
}


def _lying(lie: bytes) -> Callable[[Picture, StageContext], Output]:
    def run(_picture: Picture, _context: StageContext) -> Output:
        os.write(_line_to_the_worker(), lie)
        time.sleep(3600)
        raise AssertionError

    return run


TABLE = {
    **STAGES,
    **{attack.__name__: Stage(result=Tried, run=_trying(attack)) for attack in ATTACKS},
    **{name: Stage(result=Tried, run=_lying(lie)) for name, (_, lie) in LIES.items()},
}

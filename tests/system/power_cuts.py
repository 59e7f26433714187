"""What a power cut may leave of a data folder, built from the system calls of a real run.

``recorder`` runs a program under strace. ``Disk`` repeats the changes that the program made to the
files below one folder, up to any step, and remembers which of them are durable. ``Disk.cut`` then
draws how the folder may be found after the power went at that step:

- A file has the bytes that its last fsync saw. Each write since then is there whole, in part, as
  zeros, or not at all.
- A folder has the names that its own last fsync saw. Each change since then, a name that was made,
  moved or removed, is there or is not; a move within one folder is one change.

File systems keep more order than this. What a program writes through mapped memory is not seen;
SQLite does so with its index of the WAL alone, which it does not trust after a restart.
"""

import os
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.servers import unavailable

_CHANGES = (
    *("openat", "creat", "write", "writev", "pwrite64", "pwritev", "lseek", "ftruncate"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "fsync", "fdatasync", "truncate", "symlink", "symlinkat"),
    *("fallocate", "copy_file_range", "sendfile", "sync_file_range"),
)
_SENDS = ("write", "writev", "sendto", "sendmsg")


def recorder(trace: Path) -> list[str]:
    """The words before a command that is to be recorded in the file ``trace``."""
    strace = shutil.which("strace")
    if strace is None:
        unavailable("no strace on this machine: apt-get install strace")
        return []
    calls = ",".join((*_CHANGES, "sendto", "sendmsg"))
    return [
        *(strace, "-f", "--seccomp-bpf", "-y", "-xx", "-s", "10000000", "-e", "signal=none"),
        *("-e", f"trace={calls}", "-o", str(trace), "--"),
    ]


class Step(NamedTuple):
    """One system call that has succeeded; ``paths`` are absolute."""

    call: str
    paths: tuple[str, ...]
    data: bytes = b""
    number: int = 0
    flags: str = ""

    @property
    def syncs(self) -> bool:
        return self.call in ("fsync", "fdatasync")


_CALL = re.compile(r"(\w+)\((.*)\)\s+= (\d+)(?:<[^>]*>)?(?:\(deleted\))?$")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_WORD = re.compile(r'"((?:\\x..)*)"|(AT_FDCWD|\d+)<((?:\\x..)*)>(\(deleted\))?')


def steps(trace: Path, top: Path) -> Iterator[Step]:
    """The changes below ``top``, and what was sent elsewhere, in the order of their ends.

    What is sent comes in the order of its beginning: it may have left from then on.
    """
    begun: dict[str, str] = {}
    places: dict[str, str] = {}
    for line in trace.read_text("ascii").splitlines():
        pid, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith(_UNFINISHED):
            begun[pid] = text.removesuffix(_UNFINISHED)
            call, _, arguments = begun[pid].partition("(")
            if call in _SENDS:
                yield from _sent(call, arguments, top)
            continue
        resumed = _RESUMED.match(text)
        if resumed:
            text = begun.pop(pid, "") + text[resumed.end() :]
        if (match := _CALL.match(text)) is None:  # failed, or is none
            continue
        call, arguments, result = match.groups()
        if resumed is None and call in _SENDS:
            yield from _sent(call, arguments, top)
        if call in ("sendto", "sendmsg"):
            continue
        step = _step(call, arguments, int(result), places, pid)
        if step.paths and any(Path(path).is_relative_to(top) for path in step.paths):
            yield step


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _sent(call: str, arguments: str, top: Path) -> Iterator[Step]:
    data = b"".join(_plain(word[1]) for word in _WORD.finditer(arguments) if word[1])
    where = _WORD.match(arguments)
    if data and not (where and _plain(where[3] or "").startswith(os.fsencode(top))):
        yield Step("send", (), data)


def _step(call: str, arguments: str, result: int, places: dict[str, str], pid: str) -> Step:
    """The paths of the call: of descriptors, and of names, from where its process is."""
    paths: list[str] = []
    strings: list[bytes] = []
    base: str | None = None
    for match in _WORD.finditer(arguments):
        if match[2] is None:
            strings.append(_plain(match[1]))
            if call in ("write", "writev", "pwrite64", "pwritev"):
                continue
            paths.append(os.path.normpath(Path(base or places.get(pid, "/"), _text(match[1]))))
            base = None
        elif match[2] == "AT_FDCWD":
            base = places[pid] = _text(match[3])
        elif call.endswith("at") or call == "renameat2":
            base = _text(match[3])
        elif match[4] is None:  # a file that has no name any more is gone after a power cut
            paths.append(_text(match[3]))
    numbers = re.findall(r", (-?\d+)(?=,|$)", re.sub(r'"[^"]*"', '""', arguments))
    if call == "lseek":
        numbers = [str(result)]
    number = int(numbers[-1]) if numbers else 0
    data = b"".join(strings)[:result] if "write" in call else b""
    return Step(call, tuple(paths), data, number, arguments.rpartition('"')[2])


def _text(text: str) -> str:
    return os.fsdecode(_plain(text))


@dataclass(eq=False)
class _File:
    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list[tuple[int, bytes | None]])
    """Each a write at an offset, or None for a truncation to it."""

    def change(self, offset: int, data: bytes | None) -> None:
        _apply(self.content, offset, data)
        self.pending.append((offset, data))

    def sync(self) -> None:
        self.durable = bytes(self.content)
        self.pending.clear()

    def left(self, chance: random.Random, kept: float) -> bytes:
        content = bytearray(self.durable)
        for offset, data in self.pending:
            if chance.random() >= kept:
                continue
            if data is None or kept == 1 or chance.random() < 0.5:
                _apply(content, offset, data)
                continue
            end = chance.randrange(len(data) + 1)
            # Zeros where the file has grown, but is not written yet.
            grown = offset >= len(content) and chance.random() < 0.3
            _apply(content, offset, data[:end] + bytes(len(data) - end if grown else 0))
        return bytes(content)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data


_Names = dict[str, "_File | _Folder"]
_Changes = tuple[tuple[str, "_File | _Folder | None"], ...]
"""Names and what they are the names of from now on; None removes one."""


@dataclass(eq=False)
class _Folder:
    names: _Names = field(default_factory=_Names)
    durable: _Names = field(default_factory=_Names)
    pending: list[_Changes] = field(default_factory=list[_Changes])

    def change(self, *changes: tuple[str, "_File | _Folder | None"]) -> None:
        _rename(self.names, changes)
        self.pending.append(changes)

    def sync(self) -> None:
        self.durable = dict(self.names)
        self.pending.clear()

    def left(self, chance: random.Random, kept: float) -> _Names:
        names = dict(self.durable)
        for changes in self.pending:
            if chance.random() < kept:
                _rename(names, changes)
        return names


def _rename(names: _Names, changes: _Changes) -> None:
    for name, node in changes:
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


@dataclass
class Left:
    """What a power cut has left, by paths relative to the top; two may name one file."""

    folders: list[Path] = field(default_factory=list[Path])
    files: dict[Path, int] = field(default_factory=dict[Path, int])
    contents: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def content(self, path: Path) -> bytes | None:
        """What is in the file; None if there is none."""
        return self.contents[self.files[path]] if path in self.files else None

    def write(self, target: Path) -> None:
        """Make ``target`` such a folder."""
        first: dict[int, Path] = {}
        for folder in self.folders:
            (target / folder).mkdir(mode=0o700)
        for path, number in self.files.items():
            if number in first:
                (target / path).hardlink_to(first[number])
            else:
                first[number] = target / path
                first[number].write_bytes(self.contents[number])


class Disk:
    """The folder ``top``, which was empty and durable when the run began."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._root = _Folder()
        self._offsets: dict[int, int] = {}

    def do(self, step: Step) -> None:
        """Repeat the step. Raises ValueError for one that the model does not know."""
        node = self._find(step.paths[0])
        match step.call:
            case "openat" | "creat":
                self._open(node, step)
            case "fsync" | "fdatasync":
                if node is not None:
                    node.sync()
            case "write" | "writev" | "pwrite64" | "lseek" | "ftruncate":
                if isinstance(node, _File):
                    self._change(node, step)
            case "fallocate" | "sync_file_range":
                pass
            case _:
                self._name(node, step)

    def _name(self, node: "_File | _Folder | None", step: Step) -> None:
        folder, name = self._place(step.paths[-1])
        match step.call:
            case "mkdir" | "mkdirat":
                folder.change((name, _Folder()))
            case "rmdir" | "unlink" | "unlinkat":
                if node is not None:  # a socket, which the model does not have
                    folder.change((name, None))
            case "link" | "linkat":
                folder.change((name, node))
            case "rename" | "renameat" | "renameat2":
                self._move(*step.paths)
            case _:
                raise ValueError(f"{step.call} of {step.paths}")

    def _open(self, node: "_File | _Folder | None", step: Step) -> None:
        if "O_CREAT" not in step.flags and "O_TRUNC" not in step.flags:
            return
        if node is None:
            folder, name = self._place(step.paths[0])
            node = _File()
            folder.change((name, node))
        elif isinstance(node, _File) and "O_TRUNC" in step.flags and node.content:
            node.change(0, None)
        # Those who write without an offset append, or write a new file from its start.
        self._offsets.pop(id(node), None)

    def _change(self, file: _File, step: Step) -> None:
        match step.call:
            case "pwrite64":
                file.change(step.number, step.data)
            case "lseek":
                self._offsets[id(file)] = step.number
            case "ftruncate":
                file.change(step.number, None)
            case _:
                file.change(self._offsets.pop(id(file), len(file.content)), step.data)

    def _move(self, old: str, new: str) -> None:
        source, name = self._place(old)
        target, new_name = self._place(new)
        node = self._find(old)
        if node is None:
            raise ValueError(f"{old} was not seen")
        if source is target:
            source.change((name, None), (new_name, node))
        else:
            target.change((new_name, node))
            source.change((name, None))

    def _find(self, path: str) -> "_File | _Folder | None":
        node: _File | _Folder | None = self._root
        if not Path(path).is_relative_to(self.top):
            return None
        for part in Path(path).relative_to(self.top).parts:
            if not isinstance(node, _Folder):
                return None
            node = node.names.get(part)
        return node

    def _place(self, path: str) -> tuple[_Folder, str]:
        folder = self._find(str(Path(path).parent))
        if not isinstance(folder, _Folder):
            raise ValueError(f"the folder of {path} was not seen")  # noqa: TRY004 # of the trace
        return folder, Path(path).name

    def cut(self, chance: random.Random, kept: float) -> Left:
        """Draw what a power cut may leave of ``top`` now.

        ``kept`` is how likely each change is there that was not durable: all of them with 1.
        """
        left = Left()

        def look(node: "_File | _Folder", path: Path) -> None:
            if isinstance(node, _Folder):
                left.folders.append(path)
                for name, each in node.left(chance, kept).items():
                    look(each, path / name)
                return
            if id(node) not in left.contents:
                left.contents[id(node)] = node.left(chance, kept)
            left.files[path] = id(node)

        look(self._root, Path())
        return left

"""Model what a power cut may leave of a data folder, from the system calls of a real run.

``recorder`` runs a program under strace. ``Disk`` repeats the changes that the program made to the
files below one folder, up to any step, and tracks which of them are durable. ``Disk.cut`` then
draws a state in which the folder may be after a power cut at that step:

- A file has the bytes of its last fsync. Each later write is there completely, in part, as zeros,
  or not at all.
- A folder has the names of its own last fsync. Each later change, a name that was created, moved or
  removed, has happened or not; a move within one folder is one change.

Real file systems keep more order than this. Writes through mapped memory are not seen; SQLite uses
them only for its index of the WAL, which it does not trust after a restart.
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
    """Return the words that, before a command, record it in the file ``trace``."""
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
    """A successful system call; ``paths`` are absolute."""

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
    """Return the changes below ``top``, and the sends elsewhere, in the order in which they ended.

    Sends are ordered by their beginning: the bytes may have left from then on.
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
        if (match := _CALL.match(text)) is None:  # a failed call, or not a call
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
    """Return the paths of the call's descriptors and names, resolved in its process's directory."""
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
        elif match[4] is None:  # a file without a name is lost in a power cut
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
    """Each is a write at an offset, or a truncation to it if the bytes are None."""

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
            # Zeros where the file has grown but has not been written.
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
"""New targets of names; None removes a name."""


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
    """What a power cut left, by paths relative to the top; two paths may name one file."""

    folders: list[Path] = field(default_factory=list[Path])
    files: dict[Path, int] = field(default_factory=dict[Path, int])
    contents: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def content(self, path: Path) -> bytes | None:
        """Return the bytes of the file, or None if it does not exist."""
        return self.contents[self.files[path]] if path in self.files else None

    def write(self, target: Path) -> None:
        """Write this state to the folder ``target``."""
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
    """The folder ``top``, empty and durable at the start of the run."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._root = _Folder()
        self._offsets: dict[int, int] = {}

    def do(self, step: Step) -> None:
        """Repeat the step; raises ValueError for a step unknown to the model."""
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
        # Writes without an offset append, or write a new file from its start.
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
        """Draw a state in which a power cut may leave ``top`` now.

        ``kept`` is the probability that a change that was not durable is kept; 1 keeps all.
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

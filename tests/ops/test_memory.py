"""The memory that decoders and the log may use, by what the kernel reports."""

from pathlib import Path

import pytest

from ops import memory

GB = 1 << 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(
        tmp_path / "proc/meminfo",
        f"MemTotal: {9 * GB // 1024} kB\nMemAvailable: {8 * GB // 1024} kB\n",
    )
    return tmp_path


def write(file: Path, text: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def test_without_limits_the_free_memory_of_the_machine_counts(root: Path) -> None:
    assert memory.free_bytes(root) == 8 * GB


def test_the_lowest_limit_of_all_ancestors_counts(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/system.slice/photolog.service")
    base = root / "sys/fs/cgroup/system.slice"
    write(base / "photolog.service/memory.max", "max")
    write(base / "photolog.service/memory.current", GB)
    write(base / "memory.max", 4 * GB)
    write(base / "memory.current", 2 * GB)
    write(base / "memory.stat", f"anon 1\ninactive_file {GB}")

    assert memory.free_bytes(root) == 3 * GB


def test_in_a_container_the_limit_is_at_the_root(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/")
    write(root / "sys/fs/cgroup/memory.max", 2 * GB)
    write(root / "sys/fs/cgroup/memory.current", GB)

    assert memory.free_bytes(root) == GB


def test_version_1_of_cgroups_is_supported(root: Path) -> None:
    write(root / "proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/abc")
    base = root / "sys/fs/cgroup/memory"
    write(base / "memory.limit_in_bytes", 3 * GB)
    write(base / "memory.usage_in_bytes", 2 * GB)

    assert memory.free_bytes(root) == GB


def test_workers_of_one_machine_share_its_memory(root: Path) -> None:
    assert 2 * memory.share(2, root) <= memory.share(1, root) < 8 * GB
    assert memory.share(1000, root) == memory.LEAST_BYTES


def test_this_machine_reports_free_memory() -> None:
    assert (memory.free_bytes() or 0) > 0


def test_the_log_gets_a_part_of_all_memory_or_what_is_set(root: Path) -> None:
    assert memory.log_bytes(0, root) == 9 * GB * memory.LOG_PERCENT // 100
    assert memory.log_bytes(123, root) == 123


def test_the_log_of_a_container_gets_a_part_of_the_lowest_limit(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/pod/app")
    base = root / "sys/fs/cgroup/pod"
    write(base / "memory.max", 2 * GB)
    write(base / "app/memory.max", 4 * GB)

    assert memory.log_bytes(0, root) == 2 * GB * memory.LOG_PERCENT // 100

    write(base / "memory.max", 1 << 20)
    assert memory.log_bytes(0, root) == memory.LEAST_LOG_BYTES

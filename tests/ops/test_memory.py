from pathlib import Path

import pytest

from ops import memory


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hierarchy of control groups of our own."""
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_HIERARCHY", tmp_path)
    return tmp_path


def test_without_control_groups_it_is_what_the_machine_has(groups: Path) -> None:
    assert memory.machine_bytes() > 1 << 28
    (groups / "cgroup").write_text("0::/\n")
    (groups / "memory.max").write_text("max\n")
    assert memory.machine_bytes() > 1 << 28


def test_a_container_has_what_its_group_and_those_around_it_may_use(groups: Path) -> None:
    (groups / "cgroup").write_text("0::/pod/app\n")
    (groups / "pod" / "app").mkdir(parents=True)
    (groups / "pod" / "app" / "memory.max").write_text("500000000\n")
    assert memory.machine_bytes() == 500_000_000

    (groups / "pod" / "memory.max").write_text("400000000\n")
    assert memory.machine_bytes() == 400_000_000


def test_groups_of_the_first_version_count_too(groups: Path) -> None:
    (groups / "cgroup").write_text("3:cpu,cpuacct:/\n4:memory:/docker/abc\n0::/\n")
    (groups / "memory").mkdir()
    (groups / "memory" / "memory.limit_in_bytes").write_text("300000000\n")

    assert memory.machine_bytes() == 300_000_000


def test_the_log_gets_a_part_of_it_or_what_an_operator_says(groups: Path) -> None:
    (groups / "cgroup").write_text("0::/\n")
    (groups / "memory.max").write_text("1000000000\n")

    assert memory.log_bytes(0) == 400_000_000
    assert memory.log_bytes(123) == 123
    (groups / "memory.max").write_text("1000000\n")
    assert memory.log_bytes(0) == memory.LEAST_BYTES

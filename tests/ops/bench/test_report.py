import pytest

from ops.bench import report


def test_after_each_round_it_is_said_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(report.rounds(2)) == [0, 1]

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "  round 1 of 2 done, about 0 s left\n  round 2 of 2 done, about 0 s left\n"

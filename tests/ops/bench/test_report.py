import pytest

from ops.bench import report


def test_each_round_reports_the_remaining_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(report.rounds(2)) == [0, 1]

    printed = capsys.readouterr()
    assert printed.out == ""
    assert (
        printed.err == "  round 1 of 2 done, about 0 s left\n  round 2 of 2 done, about 0 s left\n"
    )

import resource
import subprocess
import sys

import pytest

from gateway.http.limits import Limits
from ops.errors import UserError
from ops.runtime.descriptors import MIN_CONNECTIONS, PER_CONNECTION, RESERVED, fitted


def test_connections_that_fit_stay_as_they_are_set() -> None:
    enough = RESERVED + PER_CONNECTION * Limits().connections

    assert fitted(Limits(), enough) == (Limits(), "")
    assert fitted(Limits(), resource.RLIM_INFINITY) == (Limits(), "")


def test_limits_are_lowered_together_with_those_of_one_address_and_client() -> None:
    limits, note = fitted(Limits(), RESERVED + PER_CONNECTION * 1_000)

    assert limits.connections == 1_000
    assert limits.connections_per_address == 250
    assert limits.connections_per_client == 100
    assert note.startswith("lowered from 4,000 to 1,000, because this process may open ")


def test_too_few_descriptors_are_rejected_with_what_to_do() -> None:
    with pytest.raises(UserError, match=r"raise its limit \(ulimit -n, LimitNOFILE\)"):
        fitted(Limits(), RESERVED + PER_CONNECTION * MIN_CONNECTIONS - 1)


def test_the_limit_is_raised_as_far_as_the_system_allows() -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128));"
        "from ops.process.file_limit import raise_limit; print(raise_limit())"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.strip() == "128", done.stderr

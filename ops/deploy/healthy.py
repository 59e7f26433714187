"""Whether the role of this container is well; exit status 1 if it is not.

| role | asked for | well means |
|---|---|---|
| gateway, ``up`` | ``/health/ready`` on PHOTOLOG_PORT | it can do its work |
| projector, worker | ``/metrics`` on PHOTOLOG_METRICS_PORT | its loop turns, Redis or not |

A container has one role, so the first port that somebody listens on is the one to ask. Only the
standard library, without site packages: it runs every few seconds in every container.
"""

import http.client
import os
import sys

PATIENCE_S = 4.0
QUESTIONS = (("PHOTOLOG_PORT", "/health/ready"), ("PHOTOLOG_METRICS_PORT", "/metrics"))


def verdict() -> tuple[int, str]:
    """The exit status, and why."""
    for variable, path in QUESTIONS:
        port = int(os.environ[variable])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            said = response.read(1_000).decode("utf-8", "replace")
        except ConnectionRefusedError:
            continue
        except (OSError, http.client.HTTPException) as error:
            return 1, f"port {port}: {error or type(error).__name__}"
        finally:
            connection.close()
        if response.status == http.client.OK:
            return 0, f"port {port}: well"
        return 1, f"port {port}: {response.status} {said}"
    return 1, "nobody listens"


if __name__ == "__main__":
    status, why = verdict()
    print(why)
    sys.exit(status)

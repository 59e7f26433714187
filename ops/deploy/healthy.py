"""Check the health of this container's role; the exit status is 1 if it is unhealthy.

| role | request | a success means |
|---|---|---|
| gateway, ``up`` | ``/health/ready`` on PHOTOLOG_PORT | it can do its work |
| all others | ``/metrics`` on PHOTOLOG_METRICS_PORT | its event loop runs, Redis or not |

A container has one role, so the first port that accepts connections is the right one. The check
needs only the standard library, without site packages: it runs every few seconds in each container.
"""

import http.client
import os
import sys

PATIENCE_S = 4.0
PROBES = (("PHOTOLOG_PORT", "/health/ready"), ("PHOTOLOG_METRICS_PORT", "/metrics"))


def verdict() -> tuple[int, str]:
    """Return the exit status, and why."""
    for variable, path in PROBES:
        port = int(os.environ[variable])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read(1_000).decode("utf-8", "replace")
        except ConnectionRefusedError:
            continue
        except (OSError, http.client.HTTPException) as error:
            return 1, f"port {port}: {error or type(error).__name__}"
        finally:
            connection.close()
        if response.status == http.client.OK:
            return 0, f"port {port}: healthy"
        return 1, f"port {port}: {response.status} {body}"
    return 1, "no role listens on PHOTOLOG_PORT or PHOTOLOG_METRICS_PORT"


if __name__ == "__main__":
    status, why = verdict()
    print(why)
    sys.exit(status)

"""Send the requests of tus 1.0 and of the IETF's draft, one at a time."""

import base64

import httpx

from tests.gateway.conftest import Gateway

UPLOADS = "/api/uploads"
TUS = {"Tus-Resumable": "1.0.0"}
TUS_BODY = {**TUS, "Content-Type": "application/offset+octet-stream"}
DRAFT_BODY = {"Content-Type": "application/partial-upload"}


def encoded(**fields: str) -> str:
    """Return the header ``Upload-Metadata``."""
    return ",".join(
        f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in fields.items()
    )


async def create(
    gateway: Gateway, length: int | None, *, name: str = "alice", **headers: str
) -> httpx.Response:
    """Create an upload by tus; underscores of ``headers`` are hyphens."""
    more = {key.replace("_", "-"): value for key, value in headers.items()}
    size = {} if length is None else {"Upload-Length": str(length)}
    return await gateway.client.post(
        UPLOADS, headers={**TUS, **size, **gateway.bearer(name), **more}
    )


async def created(gateway: Gateway, length: int | None, **headers: str) -> str:
    """Create an upload by tus; return its address."""
    answer = await create(gateway, length, **headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


async def append(
    gateway: Gateway,
    address: str,
    offset: int | str,
    body: bytes,
    *,
    name: str = "alice",
    **headers: str,
) -> httpx.Response:
    """Append by tus."""
    more = {key.replace("_", "-"): value for key, value in headers.items()}
    return await gateway.client.patch(
        address,
        content=body,
        headers={**TUS_BODY, "Upload-Offset": f"{offset}", **gateway.bearer(name), **more},
    )


async def offset_of(gateway: Gateway, address: str, name: str = "alice") -> int:
    answer = await gateway.client.head(address, headers={**TUS, **gateway.bearer(name)})
    assert answer.status_code == 200, answer.headers
    return int(answer.headers["Upload-Offset"])


async def problem_of(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of a problem."""
    return answer.status_code, answer.json()["code"]


def kept(gateway: Gateway) -> list[str]:
    """Return the files of unfinished uploads."""
    root = gateway.deps.partials.root / "open"
    return [path.name for path in root.rglob("*") if path.is_file()]

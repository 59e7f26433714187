"""Every error is a problem document with a stable code."""

import importlib
import pkgutil
import re
from pathlib import Path

import httpx
import pytest
from litestar import get
from syrupy.assertion import SnapshotAssertion

import gateway as package
from domain.rejections import Rejected
from gateway.app import create_app
from gateway.dependencies import Dependencies
from gateway.http.problem_table import PROBLEMS
from tests.gateway.conftest import Gateway, serving

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACED = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
FIXED_ID = "11111111-1111-4111-8111-111111111111"


def all_rejections(root: type[Rejected] = Rejected) -> list[type[Rejected]]:
    for module in pkgutil.walk_packages(package.__path__, "gateway."):
        importlib.import_module(module.name)
    return [root, *(each for child in root.__subclasses__() for each in all_rejections(child))]


def test_every_rejection_is_in_the_table() -> None:
    codes = {rejection.code for rejection in all_rejections() if rejection is not Rejected}

    assert codes <= set(PROBLEMS)


def test_every_code_in_the_sources_is_in_the_table() -> None:
    files = Path(package.__path__[0]).rglob("*.py")
    # A WebSocket sends codes in messages of its own, not in problems.
    sources = [file.read_text("utf-8") for file in files if file.name != "websocket.py"]
    used = re.findall(r'(?:Refused|AuthError)\(\s*"([a-z-]+)"', "".join(sources))
    used += re.findall(r'\bcode="([a-z-]+)"', "".join(sources))

    assert {"log-full", "scope-required"} <= set(used)
    assert set(used) <= set(PROBLEMS)


def test_every_code_has_an_error_status_a_title_and_advice() -> None:
    for code, kind in PROBLEMS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
        assert 400 <= kind.status < 600
        assert kind.title
        assert kind.advice


async def test_problems_read_like_this(gateway: Gateway, snapshot: SnapshotAssertion) -> None:
    """Compare the problems that a client can cause with plain requests."""
    client = gateway.client
    upload = "/api/photos/upload"
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    answers = [
        await client.get("/api/nowhere", headers=TRACED),
        await client.put("/api/photos", headers=TRACED),
        await client.get("/api/photos?limit=none", headers=TRACED),
        await client.get("/api/photos?limit=500", headers=TRACED),
        await client.get("/api/photos?after=now", headers=TRACED),
        await client.get("/api/photos?cursor=x", headers=TRACED),
        await client.get("/api/photos?from=now", headers=TRACED),
        await client.get("/api/photos?clientId=bob", headers=TRACED),
        await client.get(f"/api/photos/{FIXED_ID}", headers=TRACED),
        await client.get(f"/api/jobs/{FIXED_ID}", headers=TRACED),
        await client.get("/api/sessions/none", headers=TRACED),
        await client.post(upload, content=b"", headers=TRACED),
        await client.post(upload, content=b"", headers=TRACED | form),
        await client.post(upload, content=b"--x--", headers=TRACED | form),
        await client.post(upload, files={"file": ("a", b"")}, headers=TRACED),
        await client.post(upload, files={"file": ("a", b"text")}, headers=TRACED),
        await client.get("/api/photos", headers=TRACED | {"Authorization": "Bearer x"}),
        await client.post(f"/api/photos/{FIXED_ID}/reprocess", content=b"{", headers=TRACED),
        await client.delete(f"/api/photos/{FIXED_ID}", headers=TRACED | gateway.bearer("auditor")),
    ]

    assert {answer.headers["Content-Type"] for answer in answers} == {"application/problem+json"}
    assert [answer.json() for answer in answers] == snapshot


async def test_no_answer_repeats_all_of_a_long_input(gateway: Gateway) -> None:
    long, client = "9" * 30_000, gateway.client
    digits, photo = long[:4_000], (await gateway.upload()).json()
    path = f"/api/photos/{photo['photoId']}"
    await gateway.get(path, after=photo["position"])
    operator = gateway.bearer("operator")
    answers = [
        await gateway.upload(pipeline=long),
        await client.get(f"/api/photos?status={long}"),
        await client.get(f"/api/photos?limit={long}"),
        await client.post(f"{path}/reprocess", json={"pipeline": long}),
        await client.post(f"{path}/reprocess", content=b'{"priority": %b}' % digits.encode()),
        await client.get(f"{path}/thumbnails/{digits}"),
        await client.post(f"/api/ops/queues/{long}/pause", headers=operator),
        await client.put("/api/ops/queues/all/limits", json={long: 1}, headers=operator),
    ]

    assert {answer.status_code for answer in answers} == {400, 404}
    assert max(len(answer.json()["detail"]) for answer in answers) < 300


async def test_an_unsupported_method_is_answered_with_the_supported_ones(gateway: Gateway) -> None:
    answer = await gateway.client.put("/api/photos")

    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


@get("/bug", exclude_from_auth=True)
async def bug() -> None:
    """Fail, as a route with a bug."""
    raise RuntimeError("secret internals")


async def test_a_bug_is_logged_with_its_trace_and_answered_without_internals(
    deps: Dependencies, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(deps)
    app.register(bug)

    async with serving(app, deps.limits) as base_url, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{base_url}/bug", headers=TRACED)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (500, "internal-error")
    assert problem["traceId"] == TRACE
    assert "secret" not in answer.text
    [line] = [record for record in caplog.records if record.exc_info]
    assert vars(line)["subject"].trace_id == TRACE
    assert "RuntimeError: secret internals" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_request_without_a_valid_trace_gets_a_new_one(gateway: Gateway) -> None:
    seen = {
        (await gateway.client.get("/health/live", headers={"traceparent": text})).headers[
            "X-Trace-Id"
        ]
        for text in (
            *("", "nonsense", f"ff-{TRACE}-b7ad6b7169203331-01"),
            f"00-{'0' * 32}-b7ad6b7169203331-01",
        )
    }

    assert len(seen) == 4
    assert all(re.fullmatch("[0-9a-f]{32}", trace) for trace in seen)
    assert TRACE not in seen


async def test_every_answer_has_the_security_headers_and_no_banner(gateway: Gateway) -> None:
    for path in ("/health/live", "/api/photos", "/api/nowhere", "/schema/openapi.json"):
        headers = (await gateway.client.get(path)).headers

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert re.fullmatch("[0-9a-f]{32}", headers["X-Trace-Id"])
        assert "Server" not in headers

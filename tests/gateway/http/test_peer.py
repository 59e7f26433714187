import httpx
import pytest
from litestar import Litestar, Request, get
from litestar.datastructures import State

from gateway.http.limits import Limits
from gateway.http.peer import Proxies, address_of, is_secure, source
from tests.gateway.conftest import serving


@get("/")
async def whoami(request: Request[None, None, State]) -> str:
    return f"{address_of(request.scope)} {is_secure(request.scope)}"


FORWARDED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("proxies", "mapped", "seen"),
    [
        ("", False, "127.0.0.1 False"),
        ("10.0.0.7", False, "127.0.0.1 False"),
        ("10.0.0.7", True, "::ffff:127.0.0.1 False"),
        ("10.0.0.7, 127.0.0.0/8", False, "203.0.113.9 True"),
        ("10.0.0.7, 127.0.0.0/8", True, "203.0.113.9 True"),
    ],
)
async def test_only_forwarding_headers_of_a_trusted_proxy_are_used(
    proxies: str, mapped: bool, seen: str
) -> None:
    limits = Limits(trusted_proxies=proxies)
    async with (
        serving(Litestar([whoami]), limits, mapped=mapped) as url,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.get(url, headers=FORWARDED)

    assert answer.text == seen


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_that_one_host_can_use_are_one_source(address: str, counted: str) -> None:
    assert source(address) == counted


def test_a_trusted_proxy_is_recognized_by_its_mapped_address() -> None:
    proxies = Proxies("10.0.0.0/8, 2001:db8::/32")

    assert "10.0.0.7" in proxies
    assert "::ffff:10.0.0.7" in proxies
    assert "2001:db8::1" in proxies
    assert "::ffff:11.0.0.7" not in proxies

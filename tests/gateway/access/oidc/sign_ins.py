"""Sign-ins of a person at a provider, step by step."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from gateway.access.oidc.config import Oidc
from gateway.access.oidc.flow import Begun, Flow, Returned
from gateway.http.auth import Principal
from store.log.log import Log
from tests.gateway.openid.forger import (
    Forger,
    signed,
)

ADDRESS = "192.0.2.1"


def asked(begun: Begun) -> dict[str, str]:
    """Return the parameters that the browser brings to the provider."""
    return {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query).items()}


async def begin(flow: Flow, return_to: str = "/", browser: str | None = None) -> Begun:
    return await flow.begin(ADDRESS, browser, return_to)


async def finish(flow: Flow, begun: Begun, **returned: str) -> Principal:
    answer = Returned(**{"state": asked(begun)["state"], "code": "the-code", **returned})
    return (await flow.finish(answer, begun.browser))[0]


async def sign_in(log: Log, forger: Forger, config: Oidc | None = None, **claims: Any) -> Principal:
    flow = Flow(config or forger.config(), log)
    begun = await begin(flow)
    forger.gives(signed(forger.claims(asked(begun)["nonce"], **claims)))
    return await finish(flow, begun)

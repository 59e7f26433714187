"""Run ``oidc-provider``, an OpenID provider that the OpenID Foundation has certified."""

import html
import json
import os
import re
import shutil
import subprocess
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.ports import free_port
from tests.servers import unavailable

VARIABLE = "OIDC_PROVIDER"
"""Names the folder into which npm has installed ``oidc-provider``."""

CLIENT_ID, CLIENT_SECRET = "photolog", "a secret of the tests and: odd % characters"
SCRIPT = Path(__file__).with_name("provider.mjs")
START_S = 20.0
STEPS = 10
"""The most redirects and forms of a sign-in."""

Json = dict[str, Any]


class OpenIdProvider:
    """A provider on a port of this machine, over a folder, that is killed when the block ends.

    It knows Photolog at ``public_url``. ``accounts`` are the claims of each person besides ``sub``.
    """

    def __init__(self, folder: Path, public_url: str) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._file = folder / "provider.json"
        self._public_url = public_url
        self._accounts: dict[str, Json] = {}
        self._keys = [rsa_key("one"), ec_key("two")]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        folder, node = os.environ.get(VARIABLE), shutil.which("node")
        if folder is None or node is None:
            unavailable(f"no {VARIABLE}: npm install --prefix FOLDER oidc-provider")
            return
        self._write()
        self._process = subprocess.Popen(
            [node, str(SCRIPT), folder, self.issuer, str(self._file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        give_up = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                pytest.fail("the OpenID provider did not start")
            time.sleep(0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def rotate(self) -> None:
        """Restart with other keys; sign-ins under way are lost."""
        self.kill()
        self._keys = [rsa_key("three")]
        self.start()

    def knows(self, subject: str, **claims: Any) -> None:
        """Give a person these claims, from the next sign-in on."""
        self._accounts[subject] = claims
        self._write()

    def _write(self) -> None:
        client = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [f"{self._public_url}/api/login/oidc/callback"],
            "post_logout_redirect_uris": [f"{self._public_url}/"],
            "backchannel_logout_uri": f"{self._public_url}/api/login/oidc/back-channel",
            "backchannel_logout_session_required": True,
        }
        written = {"clients": [client], "keys": self._keys, "accounts": self._accounts}
        self._file.write_text(json.dumps(written))

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            url = f"{self.issuer}/.well-known/openid-configuration"
            return httpx.get(url, trust_env=False).status_code == HTTPStatus.OK
        return False


def rsa_key(key_id: str) -> Json:
    """Return a new private key as a JWK."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return _named(RSAAlgorithm.to_jwk(key, as_dict=True), key_id, "RS256")


def ec_key(key_id: str) -> Json:
    """Return a new private key as a JWK."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _named(ECAlgorithm.to_jwk(key, as_dict=True), key_id, "ES256")


def okp_key(key_id: str) -> Json:
    """Return a new private key as a JWK."""
    key = ed25519.Ed25519PrivateKey.generate()
    return _named(json.loads(OKPAlgorithm.to_jwk(key)), key_id, "EdDSA")


def _named(jwk: Json, key_id: str, algorithm: str) -> Json:
    return {**jwk, "kid": key_id, "alg": algorithm, "use": "sig"} | {"key_ops": ["sign"]}


async def authorize(url: str, subject: str) -> str:
    """Sign in as ``subject`` at the provider's page ``url``; return the address of the callback."""
    origin = httpx.URL(url).copy_with(raw_path=b"/")
    async with httpx.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(url)
        for _ in range(STEPS):
            if (location := answer.headers.get("Location")) is not None:
                following = answer.url.join(location)
                if (following.host, following.port) != (origin.host, origin.port):
                    return str(following)
                answer = await browser.get(following)
                continue
            action = re.search(r'<form[^>]* action="([^"]+)"', answer.text)
            assert action, answer.text
            form = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', answer.text))
            if 'name="login"' in answer.text:
                form |= {"login": subject, "password": "any"}
            answer = await browser.post(answer.url.join(html.unescape(action[1])), data=form)
    pytest.fail("the provider did not send the browser back")

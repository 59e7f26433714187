"""An OpenID provider that answers whatever a test wants, also what no provider should."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import jwt
import msgspec

from gateway.access.oidc.config import Oidc
from tests.gateway.openid.provider import CLIENT_ID, CLIENT_SECRET, Json, rsa_key
from tests.ports import free_port

KEY, STRANGERS_KEY = rsa_key("one"), rsa_key("one")
"""Its own key, and one of somebody else with the same id."""

SUBJECT = "248289761001"
METADATA, KEYS, TOKEN, USER_INFO = (
    "/.well-known/openid-configuration",
    "/keys",
    "/token",
    "/user-info",
)
_PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "key_ops"}


class Raw(msgspec.Struct, frozen=True):
    """An answer that is not a JSON object with status 200; none comes if it ``is_silent``."""

    body: bytes = b"{}"
    status: int = 200
    headers: str = ""
    is_silent: bool = False


class Forger:
    """``answers`` has what each path answers, ``asked`` how often, ``forms`` what was posted."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.issuer = f"http://127.0.0.1:{port}"
        self.asked: Counter[str] = Counter()
        self.forms: list[dict[str, str]] = []
        self.answers: dict[str, Json | Raw] = {
            METADATA: {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
                "token_endpoint": self.issuer + TOKEN,
                "jwks_uri": self.issuer + KEYS,
                "userinfo_endpoint": self.issuer + USER_INFO,
            },
            KEYS: {"keys": [public(KEY)]},
            USER_INFO: {"sub": SUBJECT},
        }

    def config(self, **others: Any) -> Oidc:
        given: dict[str, Any] = {
            "issuer": self.issuer,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "public_url": "https://photos.example.com",
            "retry_s": 60.0,
        }
        return Oidc(**{**given, **others})

    def claims(self, nonce: str, /, **others: Any) -> Json:
        now = int(time.time())
        given = {
            "iss": self.issuer,
            "sub": SUBJECT,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
        }
        return {name: each for name, each in {**given, **others}.items() if each is not None}

    def gives(self, id_token: str, **others: str) -> None:
        """Give this ID token for the next codes."""
        self.answers[TOKEN] = {"id_token": id_token, "token_type": "Bearer", **others}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        self.asked[path] += 1
        if method == "POST":
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            form = parse_qs((await reader.readexactly(length)).decode())
            self.forms.append({name: values[0] for name, values in form.items()})
        answer = self.answers.get(path, Raw(status=404))
        raw = answer if isinstance(answer, Raw) else Raw(msgspec.json.encode(answer))
        if raw.is_silent:
            await reader.read()  # until the sender gives up
            writer.close()
            return
        writer.write(
            f"HTTP/1.1 {raw.status} X\r\nContent-Length: {len(raw.body)}\r\n{raw.headers}"
            "Connection: close\r\n\r\n".encode()
            + raw.body
        )
        writer.close()


@asynccontextmanager
async def forging() -> AsyncGenerator[Forger]:
    """Serve a provider on a free port of this machine."""
    forger = Forger(free_port())
    async with await asyncio.start_server(forger.serve, "127.0.0.1", forger.port):
        yield forger


def public(key: Json) -> Json:
    """Return the public half of a JWK."""
    return {name: value for name, value in key.items() if name not in _PRIVATE}


def signed(claims: Json, key: Json = KEY, algorithm: str = "RS256", **header: Any) -> str:
    """Return a token that this private key has signed."""
    private = jwt.PyJWK(key, algorithm).key
    headers = {"kid": key["kid"], **header}
    return jwt.encode(claims, private, algorithm=algorithm, headers=headers)

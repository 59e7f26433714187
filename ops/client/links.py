"""Make links that sign in one browser, once."""

import msgspec

from ops.client.client import Server, checked, connected


class _Ticket(msgspec.Struct, frozen=True):
    path: str


async def make_link(server: Server) -> str:
    """Return a sign-in link for the client of the server's token; raises UserError."""
    async with connected(server.url, server.token) as client:
        answer = checked(await client.post("/api/login/tickets"))
    return server.url + msgspec.json.decode(answer.content, type=_Ticket).path

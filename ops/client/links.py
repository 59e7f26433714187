"""Links that sign a browser in once."""

import msgspec

from ops.client.client import Server, checked, connected


class _Ticket(msgspec.Struct, frozen=True):
    path: str


async def make_link(server: Server) -> str:
    """Return a link for whom the server's token is for; raises UserError."""
    async with connected(server.url, server.token) as client:
        answer = checked(await client.post("/api/login/tickets"))
    return server.url + msgspec.json.decode(answer.content, type=_Ticket).path

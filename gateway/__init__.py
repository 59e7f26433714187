"""HTTP, WebSocket and SSE: commands, queries, uploads, rooms, sign-in and the pages."""

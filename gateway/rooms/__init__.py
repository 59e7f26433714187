"""Rooms: deliver events over SSE and WebSockets."""

"""Rooms: the hub, and events over SSE and WebSockets."""

"""Rooms: deliver events over SSE and WebSockets.

| file | what |
|---|---|
| ``rooms`` | which events a room has, and who may enter it |
| ``hub`` | follows the history, once for all readers |
| ``subscription`` | what one reader has still to receive |
| ``turns`` | the turns of a client's many streams |
| ``room_history`` | the queries of rooms |
| ``sse``, ``websocket`` | the two ways to a reader |
| ``messages``, ``frames`` | the messages of a WebSocket, and their bytes |
"""

"""HTTP itself: server, connections, sign-in tokens, problems, conditional and range requests."""

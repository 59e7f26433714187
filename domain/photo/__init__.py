"""A photo: commands, events, state, and what a command leads to."""

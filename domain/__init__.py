"""The rules of a photo's life, free of I/O: commands, events, state, and the pipeline's plan."""

"""The rules of a photo's life, free of I/O: commands, events, state, the plan of the pipeline."""

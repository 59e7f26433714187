"""The log: appends, reads, the hash chain, and the state folded beside it."""

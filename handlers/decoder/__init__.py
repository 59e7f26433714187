"""Decoder processes: the pool, the sandbox, and who decodes next."""

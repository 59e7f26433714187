"""Receiving an upload: the form, names, digests, keys, lost originals, and what can be resumed."""

"""Receiving an upload: the form, names, slots, keys and lost originals."""

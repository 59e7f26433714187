"""Queries on the read model, and how current it is."""

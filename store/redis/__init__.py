"""Connections to Redis, Valkey and clusters, and what a server must offer."""

"""Webhooks: addresses of clients and operators to which events are sent as they happen."""

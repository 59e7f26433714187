"""Processes and the resources they hold."""

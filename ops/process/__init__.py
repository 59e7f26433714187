"""Processes and their resources. Imports nothing else of ``ops``."""

"""Audits, reconciliation, backfills and advisories."""

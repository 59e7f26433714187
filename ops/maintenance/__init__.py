"""Audits, reconciliation, backfills and advisories.

| file | what |
|---|---|
| ``audit``, ``sealed_evidence``, ``copied_log`` | hash chains, and the archive as evidence |
| ``reconcile``, ``hashing``, ``settling`` | files against the log |
| ``log_info`` | what the log has, and where |
| ``log_export``, ``export_file``, ``export_check`` | the log in one file, and its checks |
| ``log_import``, ``import_note`` | into an empty system; what others must know of that |
| ``log_recover``, ``log_recover_findings`` | a log that Redis has lost, and what is left of it |
| ``log_recover_survey`` | what a server still has of it |
| ``log_recover_sources`` | the archive and the read models as sources |
| ``log_ownership`` | whether blobs and log belong together |
| ``advisories``, ``advisory_sources``, ``bundled`` | known vulnerabilities of what is installed |
| ``page_icons`` | the icons of the installed page |
"""

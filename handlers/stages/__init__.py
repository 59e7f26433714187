"""The stages, one file each: what it needs, what it returns, one function.

A stage knows no queue and no retries: it returns an ``Output``, or raises a ``StageFailure`` whose
category decides what happens. Stages are listed in ``handlers.registry``.
"""

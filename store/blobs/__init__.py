"""Blobs: originals and renditions, in a folder or in an S3 bucket.

| file | what |
|---|---|
| ``interface`` | the contract of both stores, and the names of all objects |
| ``folder``, ``disk`` | blobs as files, and what makes a file durable |
| ``s3``, ``s3_draft``, ``s3_bucket``, ``s3_errors`` | blobs as objects; uploads, calls, errors |
| ``s3_server`` | the settings of the S3 server |
| ``local_copies`` | objects as files on this machine, for decoders |
| ``partials``, ``partial_state`` | the bytes of unfinished uploads, which are never in a bucket |
| ``damaged`` | files that were found missing or altered, for health and repair |
"""

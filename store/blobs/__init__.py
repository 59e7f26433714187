"""Blobs: originals and renditions in a folder or in an S3 bucket."""

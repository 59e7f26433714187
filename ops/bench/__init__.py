"""Measurements: each compares Photolog with the limit it is up against, within one run.

Every measurement runs both sides in turn several times and prints the medians, their spread, the
ratio, and what was run. Nothing here is a test: a noisy machine gives a noisy figure.
"""

"""Measure Photolog; each measurement compares it with its limit, within one run.

Every measurement runs both sides in turn several times, and prints the medians, their range, the
ratio, and what was run. These are not tests: a noisy machine gives noisy figures.
"""

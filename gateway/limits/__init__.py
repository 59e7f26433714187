"""Rate limits, and room in the log for new work."""

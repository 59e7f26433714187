"""Health checks, and the probes that they use."""

"""Health checks, and what they look at."""

"""Settings: names, defaults, where values come from, and their validation."""

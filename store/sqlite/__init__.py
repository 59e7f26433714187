"""SQLite files: connections, and the generations of the read model."""

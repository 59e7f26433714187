"""Everything that keeps something: the log, the stage lanes, the blobs, SQLite files."""

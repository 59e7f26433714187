"""Start and run the roles of a system."""

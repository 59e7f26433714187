"""Starting and running the roles of a system."""

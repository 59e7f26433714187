"""Reading the read model, and how new it is."""

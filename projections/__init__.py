"""Read models: what queries and rooms see, folded from the log. One file is one read model."""

"""The read models. One file is one read model: its rows, how events change them, queries."""

"""The read models, one a file: its rows, how events change them, and its queries."""

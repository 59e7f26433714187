"""The pipeline: its stages, retries and costs, and how operators control it."""

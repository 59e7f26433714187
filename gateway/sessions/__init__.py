"""Upload sessions: changing them for requests, and ending those that are idle or done."""

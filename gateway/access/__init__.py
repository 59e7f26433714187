"""Authentication: valid tokens and sessions, their cookies, and the security log."""

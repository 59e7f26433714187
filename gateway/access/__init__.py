"""Which tokens and sessions count now, their cookies, and the security log."""

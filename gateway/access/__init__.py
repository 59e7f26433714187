"""Access: valid tokens, sessions and API keys, what routes need, cookies, and the security log."""

"""OpenID providers for tests: a certified one, and one that does what it should not."""

"""What talks to a running gateway over HTTP."""

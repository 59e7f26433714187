"""Talk to a running gateway over HTTP."""

"""Sign-in of people at an OpenID provider: the provider, its answers, whom they name, the flow."""

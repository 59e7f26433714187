"""What Redis keeps of clients: rate limits, sessions and sign-in tickets."""

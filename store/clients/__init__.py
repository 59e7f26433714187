"""Client data in Redis that may be lost: rate limits, browser sessions and sign-in tickets."""

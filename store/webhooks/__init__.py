"""What the delivery of webhooks keeps in Redis: who delivers, how far each has got, the answers."""

"""What one gateway remembers between requests: results of probes, and the keys it has answered."""

"""The OpenAPI document: what signatures say, and what they cannot."""

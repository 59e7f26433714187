"""Pure image code: bytes in, pictures and facts out."""

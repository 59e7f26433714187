"""Upload sessions: the photos that a client uploads under one name, from opening to closing."""

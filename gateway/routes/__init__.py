"""The routes. One file is one resource."""

"""Connections to Redis, Valkey and clusters, and what a server must offer.

| file | what |
|---|---|
| ``connection``, ``connections`` | clients and their time limits; one connection and its owner |
| ``cluster`` | a cluster as one client |
| ``wires``, ``combining`` | commands that are written together, and when |
| ``durability``, ``guarantee`` | what is as safe as promised; what an answer promises |
| ``preflight``, ``acl`` | what a server must offer, and its user may do |
| ``spoiled`` | keys whose type another program has changed |
"""

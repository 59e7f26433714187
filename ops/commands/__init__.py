"""The commands of ``photolog``; each file has one, under the name ``command``."""

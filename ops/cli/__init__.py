"""The command line. One file is one command, under the name ``command``."""

"""A photo: its commands, events and state, and the rules that lead from one to the other."""

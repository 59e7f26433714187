"""The queues of the stages: dispatch, lanes, turns, claims and timers."""

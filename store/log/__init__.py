"""The log: appends, reads, the hash chain, and the state folded beside it.

| file | what |
|---|---|
| ``log`` | the log of a system: executes commands, and lists all keys |
| ``command_loop`` | load, decide, append; once more after a conflict |
| ``append``, ``chain`` | one append, all or nothing; the digest of the event before |
| ``photos``, ``states``, ``sessions`` | states: cached, or folded again |
| ``session_closings`` | whether the archive has the closing of a session |
| ``control`` | what operators have paused or limited |
| ``content_hashes``, ``hash_splitting`` | which photo has which bytes; what a client uses |
| ``client_fold`` | both of these, folded from the log |
| ``stream``, ``entries``, ``archived`` | events by position; entries as stored; the archive |
| ``recorded`` | events with their places, and how they stand in entries |
| ``eviction`` | removes the states of photos and sessions at rest |
| ``codec``, ``position`` | events and states as bytes; positions as text |
| ``identity``, ``recovering`` | which log this is; that it is being recovered |
| ``answered``, ``answered_settings`` | what was confirmed, to notice when the log has lost it |
| ``foreign`` | entries that are not events |
| ``memory`` | how much memory the servers have left |
| ``doorbell`` | signals that a projector has committed |
| ``outcome`` | what a command led to |
"""

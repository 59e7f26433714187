"""Start and run the roles of a system.

| file | what |
|---|---|
| ``supervisor``, ``startup_check`` | ``photolog up``, and what it checks first |
| ``slow_start`` | what ``up`` logs while it is not ready |
| ``roles``, ``waiting`` | one role in this process; what it waits for at its start |
| ``wiring`` | everything built from settings |
| ``archiving``, ``blobs``, ``webhooks`` | and its parts for three of them |
| ``tokens``, ``signing_keys`` | tokens and the keys that sign them |
| ``webhook_key`` | the key from which the secrets of webhooks are derived |
| ``durability``, ``descriptors`` | what appends promise here; how many files may be open |
"""

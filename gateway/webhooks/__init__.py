"""Webhooks: send events to addresses of clients and operators, as the role ``webhooks`` does.

| file | holds |
|---|---|
| ``settings`` | the bounds of the delivery |
| ``secrets`` | the secrets that sign, derived from one key |
| ``messages`` | an event as a signed request |
| ``destinations`` | which addresses may be connected to |
| ``sending`` | one request to a receiver that is not trusted |
| ``window`` | which events of a webhook may be sent now |
| ``delivery`` | the delivery of one webhook |
| ``pages`` | the queries of the delivery on the history |
| ``deliverer`` | the delivery of all of them, by the process that has the lease |

Nothing here needs the web framework: the process that delivers does not load it.
"""

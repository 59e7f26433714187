"""HTTP itself: server, connections, sign-in tokens, problems, conditional and range requests.

| file | what |
|---|---|
| ``server``, ``socket_protocol`` | uvicorn with more limits; WebSocket messages |
| ``connections``, ``write_timeout``, ``peer`` | how many, who does not read, from where |
| ``envelope``, ``tracing``, ``interim`` | what every exchange has |
| ``auth``, ``bearer``, ``api_keys``, ``roles`` | tokens and keys, and what they permit |
| ``cors`` | pages of other origins |
| ``limits``, ``rate_limits``, ``rate_limit_headers`` | all bounds, and how they are told |
| ``problems``, ``problem_table``, ``raw_response`` | errors as documents |
| ``rejection_log`` | senders that misbehave, a line a minute |
| ``wording``, ``body_fields``, ``suggestions`` | messages that lead on |
| ``query_guards``, ``paging``, ``times``, ``session_ids`` | parameters |
| ``negotiation``, ``preconditions`` | what headers demand, before and for a command |
| ``ranges``, ``intact``, ``compressed`` | parts of files, whole files that match the log, gzip |
"""

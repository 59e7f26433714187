"""The pipeline at work: the stages, and the worker that runs them.

| where | what |
|---|---|
| ``stage`` | the contract of a stage: what it gets, what it returns, how it fails |
| ``registry`` | the table of stages; says what a new stage needs |
| ``stages`` | one file a stage: a picture in, facts and renditions out |
| ``imaging`` | pure image code, from the bytes of a file to a picture and back |
| ``worker`` | claims tasks, runs attempts, records results, plans events (the dispatcher) |
| ``decoder`` | sandboxed processes that decode and run stages; whose picture is decoded next |
| ``parent_death`` | a process that ends with the one that started it; ``ops`` uses it too |

A task's way: ``worker.dispatcher`` plans it from an event and puts it in its lane
(``store.queue``); ``worker.task_source`` claims and holds it; ``worker.attempts`` sends it to
``decoder.pool``, where a child process runs the stage; ``worker.recording`` then appends the
result, which also acknowledges the task and dispatches those that follow.

Retries are not here: ``worker.attempts`` asks ``domain.pipeline.retries`` whether and when a failed
attempt is repeated, and the event of the failure carries the time.
"""

"""The worker process: plans events, claims tasks, runs their stages and records the results.

| file | what it decides or holds |
|---|---|
| ``dispatcher`` | which tasks an event leads to; puts them in their lanes |
| ``task_source`` | which task may begin now: pauses, concurrency, rates, turns of the partitions |
| ``hand`` | the claimed tasks by client, so that no client fills the worker; what clients owe |
| ``worker`` | which claims the worker holds; refreshes, takes over, puts back, shuts down |
| ``attempts`` | one attempt of a task: run the stage, store renditions, record result or failure |
| ``photo_cache`` | photos as this worker's last appends left them |
| ``observing`` | what metrics, logs and traces learn of each run |

Turns: ``store.queue.turns`` decides between the clients of a partition, ``task_source`` between
partitions, and ``handlers.decoder.queue`` between the claimed tasks that wait for a decoder.

Retries: ``attempts`` applies the rules of ``domain.pipeline.retries`` and records the time of the
next attempt; the task waits in the timers of ``store.queue.lanes`` until then.
"""

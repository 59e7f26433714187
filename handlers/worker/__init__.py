"""The worker process: plans events, claims tasks, runs their stages and records the results.

| file | what it decides or holds |
|---|---|
| ``dispatcher`` | which tasks an event leads to; puts them in their lanes |
| ``worker`` | runs what the task source hands out, and shuts down |
| ``task_source`` | the owner of tasks: takes, holds, extends, takes over and gives back |
| ``held_tasks`` | the held tasks and their states; a client's share of them, and what it owes |
| ``partitions`` | which partition is claimed from next; those that are late or away |
| ``stage_limits`` | what operators allow: pauses, concurrency, rates |
| ``wakeup`` | wakes the loop that looks for tasks |
| ``attempts`` | one attempt of a task: run the stage, store renditions, record result or failure; \
  or erase the files of a deleted photo, and superseded renditions |
| ``recording`` | executes the commands of attempts, and dispatches what results lead to |
| ``giving_back`` | puts tasks back while this machine lacks something that they need |
| ``photo_cache`` | photos as this worker's last appends left them |
| ``settings`` | the bounds of a worker and their defaults |
| ``observing`` | what metrics, logs and traces learn of each run |

Turns: ``store.queue.turns`` decides between the clients of a partition, ``partitions`` between
partitions, and ``handlers.decoder.queue`` between the claimed tasks that wait for a decoder.

Retries: ``attempts`` applies the rules of ``domain.pipeline.retries`` and records the time of the
next attempt; the task waits in the timers of ``store.queue.lanes`` until then.
"""

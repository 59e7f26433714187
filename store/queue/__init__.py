"""The queues of the pipeline, in Redis: from an event to a task that a worker holds.

| file | what |
|---|---|
| ``dispatch`` | events that are not planned yet; puts planned tasks in their lanes |
| ``follow_ups`` | dispatches events in the append of a result; tasks that its worker keeps |
| ``lanes`` | waiting and held tasks by stage and priority; claims, and timers of delayed tasks |
| ``turns`` | which client's task a claim takes next |
| ``rates`` | token buckets of stages, shared by all workers |
| ``consumers`` | consumer groups: creation, and takeover from consumers that are gone |
| ``losses`` | notes that tasks may be missing, until they are refilled |
| ``recovery`` | refills lost lanes and timers from the log |
| ``cancel`` | fails the waiting tasks of a stage for an operator |
| ``known_stages`` | which stages workers run; tasks of stages that no live worker runs |
| ``drain`` | whether the running tasks of paused stages have finished |
| ``of_job`` | the tasks of one job, wherever they are |
| ``decoder_outages`` | workers that cannot start decoders |
| ``inspection``, ``counters``, ``liveness`` | views of queues and workers for operators |

A held task stays in its lane's stream, as a pending entry of its worker's consumer. A retry waits
in the timers until the due time that its event records. Everything here can be lost, and is rebuilt
from the log (``recovery``).
"""

"""Decoder processes: sandboxed children of the worker that decode pictures and run stages.

| file | what |
|---|---|
| ``pool``, ``slot`` | starts, replaces and feeds the children; the worker's entry point |
| ``queue``, ``turns``, ``budget`` | the next task: decoded pictures, turns of clients, memory |
| ``process``, ``answers`` | a child as the worker sees it; checks of what it answers |
| ``protocol`` | the messages between a worker and its children |
| ``settings`` | the settings of decoders and their defaults |
| ``child``, ``warmup`` | the program that runs in the child |
| ``sandbox``, ``seccomp``, ``landlock``, ``system_calls`` | what a child gives up first |
| ``shortage`` | what keeps a child from starting: never a photo's fault |
| ``report`` | tells the gateways which parts of the sandbox are missing, and why no child starts |

The pool does not retry failed tasks. It only restarts a task that lost its decoder to quicker ones,
or whose decoder ended before it had read the request.
"""

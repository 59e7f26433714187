"""The archive: closed ranges of the log, sealed into files of the blob store.

| file | what |
|---|---|
| ``segment`` | the bytes of one segment, as ``ops/guides/segment-format.md`` specifies them |
| ``archive`` | reads the segments of a log: by position, or the entries of one photo |
| ``naming`` | names the segment in the errors about it |
| ``raw`` | the entries of a stream, exactly as they are stored |
| ``sealing`` | seals a range of a partition into a new segment, and reads it back |
| ``settings`` | the bounds |
| ``reports`` | what keeps an archiver from its work, for health |
| ``salvage`` | reads what is left of a damaged archive, for a recovery |
| ``adding`` | adds entries to streams under the ids that they have |
| ``archiver`` | seals and trims all partitions, until it is stopped |
| ``trimming`` | removes from the stream what the archive has |
| ``comparing`` | compares sealed entries with those in the stream |
| ``catalog``, ``catalogs``, ``cataloguer`` | in which segments a photo's events are |
| ``evictor`` | removes the states of photos and sessions at rest from Redis |
"""

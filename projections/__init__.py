"""The read models that queries and rooms use, and the projector that folds the log into them.

| file | what |
|---|---|
| ``projector``, ``pace`` | follows the log, and how much it commits at a time |
| ``fold`` | rows and checkpoint of a batch of events, in one transaction |
| ``models`` | the read models, one a file |
| ``reading`` | reads what a fold needs next |
| ``unpacker``, ``unpacking`` | a second process that helps a rebuild with the archive |
| ``new_photos`` | the rows of photos that are uploaded in a batch, made without the file |
| ``generation`` | the tables and the schema of one file with all read models |
| ``rebuild``, ``requested``, ``rollback`` | a new generation, and the one before |
| ``other_versions`` | what this code can do with a file that another version wrote |
| ``verify`` | compares the live generation with a fresh fold |
| ``data_loss``, ``refold`` | events that the log has lost, and the fold without them |
"""

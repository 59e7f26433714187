"""Photos that a worker has just appended to, cached to save a read of the log.

An entry may be out of date, or an expectation: the photo as an append under way is to leave it.
Stages of one photo that end together thus append one after the other, in one exchange and without a
conflict. An append on an entry that is wrong finds a conflict, and loads the photo itself.
"""

from collections import OrderedDict

from domain.photo.state import is_current
from domain.pipeline.stages import Task
from store.log.log import Loaded

KEPT = 256


class PhotoCache:
    """Photos as this worker's appends leave them; the least recently used are dropped first."""

    def __init__(self) -> None:
        self._photos: OrderedDict[str, Loaded] = OrderedDict()

    def of(self, task: Task) -> Loaded | None:
        """Return the task's photo if the cached state says that the task is still to be done.

        A cached state never makes a task obsolete: the caller then loads the photo.
        """
        known = self._photos.get(task.photo_id)
        if known is None or known.photo is None:
            return None
        if not is_current(known.photo, task.job_id, task.stage, task.attempt):
            return None
        return known

    def newer(self, photo_id: str, loaded: Loaded | None) -> Loaded | None:
        """Return the cached photo or the loaded one, whichever has the later version."""
        known = self._photos.get(photo_id)
        if known is None or (loaded is not None and loaded.version >= known.version):
            return loaded
        return known

    def expect(self, photo_id: str, loaded: Loaded) -> None:
        """Remember the photo as an append is to leave it; it has no position yet."""
        self._put(photo_id, loaded)

    def keep(self, photo_id: str, loaded: Loaded | None) -> None:
        """Remember the photo as it was after an append, unless later ones are under way."""
        if loaded is None:
            return
        known = self._photos.get(photo_id)
        if known is None or known.position is not None or known.version <= loaded.version:
            self._put(photo_id, loaded)

    def forget(self, photo_id: str) -> None:
        """Forget the photo, because an append has failed or its outcome is unknown."""
        self._photos.pop(photo_id, None)

    def _put(self, photo_id: str, loaded: Loaded) -> None:
        self._photos[photo_id] = loaded
        self._photos.move_to_end(photo_id)
        while len(self._photos) > KEPT:
            self._photos.popitem(last=False)

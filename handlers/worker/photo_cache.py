"""What a worker knows of the photos it works on, without a look at the log.

It may be out of date: an append on it is refused then, and looks for itself.
"""

from collections import OrderedDict

from domain.photo.state import is_current
from domain.pipeline.stages import Task
from store.log.log import Loaded

KEPT = 256


class PhotoCache:
    """Photos as this worker's appends left them, the least recently used dropped first."""

    def __init__(self) -> None:
        self._photos: OrderedDict[str, Loaded] = OrderedDict()

    def of(self, task: Task) -> Loaded | None:
        """The photo that the task is of, if the task is to be done by what is known.

        No task is dropped on old news: that needs a look.
        """
        known = self._photos.get(task.photo_id)
        if known is None or known.photo is None:
            return None
        if not is_current(known.photo, task.job_id, task.stage, task.attempt):
            return None
        return known

    def newer(self, photo_id: str, loaded: Loaded | None) -> Loaded | None:
        """What is known or what was loaded, whichever is of a later version."""
        known = self._photos.get(photo_id)
        if known is None or (loaded is not None and loaded.version >= known.version):
            return loaded
        return known

    def keep(self, photo_id: str, loaded: Loaded | None) -> None:
        """Remember the photo as it was after an append."""
        if loaded is None:
            return
        self._photos[photo_id] = loaded
        self._photos.move_to_end(photo_id)
        while len(self._photos) > KEPT:
            self._photos.popitem(last=False)

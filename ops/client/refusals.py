"""Say why files failed: each reason in full once, then only its first sentence and its code."""

from ops.client.finding import Failed
from ops.event_format import printable


class Refusals:
    """The reasons that were given since the start of a command."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def line(self, file: Failed) -> str:
        """Return the file with the reason and, if the file became one, the id of the photo."""
        photo = f" (photo {file.photo_id})" if file.photo_id else ""
        reason = file.reason
        if reason in self._given:
            reason = f"{reason.partition('. ')[0].removesuffix('.')} ({file.code})"
        self._given.add(file.reason)
        return printable(f"{file.path}: {reason}{photo}")

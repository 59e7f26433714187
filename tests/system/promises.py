"""Compare the answers that clients got with what the checker has found in the log."""

from collections import defaultdict

from tests.system.checker import Findings
from tests.system.clients import Accepted


def broken_promises(accepted: Accepted, found: Findings) -> list[str]:
    """Return answers that contradict the log; call it when no client waits for an answer."""
    gone = accepted.deleted | found.erased
    return [
        *(f"{each}: answered, and not in the log" for each in accepted.photos - found.uploaded),
        *(f"{each}: in the log, and never answered" for each in found.uploaded - accepted.photos),
        *(f"{each}: erased, and nobody deleted it" for each in found.erased - accepted.deleted),
        *(f"{each}: deleted, and not erased" for each in accepted.deleted - found.erased),
        *(f"{each}: not a picture, and did not fail" for each in _well(accepted, found) - gone),
        *_of_other_bytes(accepted, found),
        *_keys_of_two(accepted),
        *_created_twice(accepted),
    ]


def _well(accepted: Accepted, found: Findings) -> set[str]:
    return accepted.broken - found.failed.keys()


def _of_other_bytes(accepted: Accepted, found: Findings) -> list[str]:
    recorded = {photo.photo_id: photo.sha256 for photo in found.photos}
    return [
        f"{each.photo_id}: the bytes recorded are not those that were sent"
        for each in accepted.answers
        if recorded.get(each.photo_id, each.sha256) != each.sha256
    ]


def _keys_of_two(accepted: Accepted) -> list[str]:
    """Check that a key makes at most one photo."""
    made: dict[str, set[str]] = defaultdict(set)
    for each in accepted.answers:
        if each.key is not None and each.status == 201:
            made[each.key].add(each.photo_id)
    return [
        f"key {key}: answered with {len(photos)} photos, {', '.join(sorted(photos))}"
        for key, photos in made.items()
        if len(photos) > 1
    ]


def _created_twice(accepted: Accepted) -> list[str]:
    """Check that a photo is new under one key only; otherwise an upload is a duplicate."""
    made: dict[str, set[str | None]] = defaultdict(set)
    for each in accepted.answers:
        if each.status == 201:
            made[each.photo_id].add(each.key)
    return [
        f"{photo}: created under {len(keys)} keys" for photo, keys in made.items() if len(keys) > 1
    ]

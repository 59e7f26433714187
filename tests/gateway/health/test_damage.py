import pytest

from gateway.health.damage import in_words
from store.blobs.damaged import Damage, DamagedFile


@pytest.mark.parametrize(
    ("damages", "command"),
    [
        (["missing"], "`photolog reconcile` lists them"),
        (["altered"], "`photolog reconcile --hash` lists them"),
        (["missing", "altered"], "`photolog reconcile --hash` lists them"),
    ],
)
def test_every_file_is_read_only_if_one_is_altered(damages: list[Damage], command: str) -> None:
    files = [
        DamagedFile(key=damage, photo_id="p", client_id="c", name="original", damage=damage)
        for damage in damages
    ]

    assert in_words(files).endswith(command)

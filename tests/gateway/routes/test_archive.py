"""``GET /api/photos/archive``."""

import io
import zipfile

import pytest

from gateway.http.limits import Limits
from gateway.routes.archive import unique_names
from projections.models import photos
from tests.gateway.conftest import Gateway, picture


@pytest.fixture
def limits() -> Limits:
    return Limits(archive_photos=3, archive_bytes=100_000)


async def uploaded(gateway: Gateway, name: str, data: bytes) -> tuple[str, str]:
    """Upload a photo as alice; return its id and position."""
    answer = await gateway.client.post(
        "/api/photos/upload", files={"file": (name, data, "image/png")}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["photoId"], answer.json()["position"]


async def test_an_archive_has_each_original_byte_for_byte_and_names_missing_ones(
    gateway: Gateway,
) -> None:
    one, two, three = picture((40, 30)), picture((41, 30)), picture((42, 30))
    first, _ = await uploaded(gateway, "a.png", one)
    second, _ = await uploaded(gateway, "A.png", two)
    third, position = await uploaded(gateway, "lost.png", three)
    await gateway.get("/api/photos", after=position)
    files = await gateway.deps.reader.query(photos.files, third)
    assert files is not None
    await gateway.blobs.delete(files.original_key)

    answer = await gateway.get(f"/api/photos/archive?photoIds={first},{second},{third}")

    assert answer.headers["Content-Type"] == "application/zip"
    assert "photos.zip" in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.png", "A (2).png", "photolog.txt"]
        assert (archive.read("a.png"), archive.read("A (2).png")) == (one, two)
        assert archive.getinfo("a.png").compress_type == zipfile.ZIP_STORED
        assert f"lost.png\t{third}\tmissing" in archive.read("photolog.txt").decode()


async def test_an_archive_names_originals_that_cannot_be_read_and_has_all_others(
    gateway: Gateway,
) -> None:
    one, two = picture((40, 30)), picture((41, 30))
    spoiled, _ = await uploaded(gateway, "folder.png", picture((42, 30)))
    first, _ = await uploaded(gateway, "a.png", one)
    second, position = await uploaded(gateway, "b.png", two)
    await gateway.get("/api/photos", after=position)
    files = await gateway.deps.reader.query(photos.files, spoiled)
    assert files is not None
    await gateway.blobs.delete(files.original_key)
    (gateway.blobs.root / files.original_key).mkdir()  # cannot be read as a file

    answer = await gateway.get(f"/api/photos/archive?photoIds={first},{spoiled},{second}")

    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert (archive.read("a.png"), archive.read("b.png")) == (one, two)
        assert archive.namelist() == ["a.png", "b.png", "photolog.txt"]
        assert f"folder.png\t{spoiled}\tnot readable" in archive.read("photolog.txt").decode()


async def test_an_archive_has_own_photos_alone(gateway: Gateway) -> None:
    photo_id, position = await uploaded(gateway, "a.png", picture((40, 30)))
    await gateway.get("/api/photos", after=position)

    for name in ("bob", "operator"):
        answer = await gateway.get(f"/api/photos/archive?photoIds={photo_id}", name=name)
        assert (answer.status_code, answer.json()["code"]) == (404, "photo-not-found")


@pytest.mark.parametrize(
    ("ids", "code", "detail"),
    [
        ("", "invalid-request", "photoIds: must name a photo."),
        (",", "invalid-request", "photoIds: must name a photo."),
        ("a", "photo-not-found", "There is no photo a."),
        ("a,b,a", "photo-not-found", "You have none of these photos: a, b."),
        (
            "a,b,c,d",
            "archive-too-large",
            "The request names 4 photos; an archive has at most 3.",
        ),
    ],
)
async def test_an_archive_that_cannot_be_made_is_explained(
    gateway: Gateway, ids: str, code: str, detail: str
) -> None:
    answer = await gateway.get(f"/api/photos/archive?photoIds={ids}")

    assert (answer.json()["code"], answer.json()["detail"]) == (code, detail)


async def test_the_photos_and_the_bytes_of_an_archive_are_bounded(gateway: Gateway) -> None:
    photo_id, position = await uploaded(gateway, "a.png", picture((400, 400)) + bytes(100_000))
    await gateway.get("/api/photos", after=position)

    for ids in ("1,2,3,4", photo_id):
        answer = await gateway.get(f"/api/photos/archive?photoIds={ids}")
        assert (answer.status_code, answer.json()["code"]) == (413, "archive-too-large")


def test_names_in_an_archive_are_safe_and_unique_on_every_system() -> None:
    given = ["a:b?.jpg", "con.jpg", "x.jpg", "X.JPG", "x (2).jpg", "photolog.txt", "..."]

    assert list(unique_names(given)) == [
        *("a_b_.jpg", "_con.jpg", "x.jpg", "X (2).JPG", "x (2) (2).jpg"),
        *("photolog (2).txt", "_"),
    ]


def test_names_that_some_system_takes_for_equal_or_reserved_are_told_apart() -> None:
    given = ["Straße.jpg", "STRASSE.jpg", "ﬁ.jpg", "fi.jpg", "COM¹.jpg", "conin$", "con .jpg"]

    assert list(unique_names(given)) == [
        *("Straße.jpg", "STRASSE (2).jpg", "ﬁ.jpg", "fi (2).jpg"),
        *("_COM¹.jpg", "_conin$", "_con .jpg"),
    ]


@pytest.mark.parametrize(
    "name", ["x" * 251 + ".jpg", "日" * 85 + ".jpg", "y" * 255, "." + "z" * 254]
)
def test_names_in_an_archive_fit_into_every_file_system(name: str) -> None:
    names = list(unique_names([name] * 3))

    assert len(set(names)) == 3
    assert all(len(each.encode()) <= 255 for each in names)
    assert all(each.endswith(".jpg") for each in names) == name.endswith(".jpg")

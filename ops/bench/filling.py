"""Fill a read model with many photos, cloned from a few real ones."""

import io
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from PIL import Image

from ops.bench.system import System
from ops.config.settings import Settings
from projections.models import renditions
from store.sqlite.connection import Connection, open_reader, open_writer
from store.sqlite.generations import Generations

CLONE = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :count),
  models AS (SELECT *, row_number() OVER (ORDER BY id) - 1 AS nth FROM photos
    WHERE client_id = :client_id AND deleted_at IS NULL),
  placed AS (SELECT n, printf('clone-%s-%08d', :client_id, n) AS new_id,
    strftime('%Y-%m-%dT%H:%M:%S', :latest, '-' || (n * :every_s) || ' seconds') AS at FROM numbers)
INSERT INTO photos ({columns})
SELECT {values} FROM placed
JOIN models ON models.nth = (n * 7 + n / 11) % (SELECT count(*) FROM models)
JOIN of_model ON of_model.id = models.id
"""

CHANGED = {
    "id": "new_id",
    "uploaded_at": "at || '.000Z'",
    "dated": "at || '.000'",
    "processing_metadata": "json_set(processing_metadata, '$.takenAt', at)",
    "original_filename": "printf('IMG_%05d.jpg', n)",
    "renditions": "of_model.renditions",
}

OF_MODELS = "CREATE TEMP TABLE of_model (id TEXT PRIMARY KEY, renditions TEXT)"


MODELS = ((300, 200), (200, 300), (300, 225))
PATIENCE_S = 60.0


def upload_models(system: System, client_id: str) -> None:
    """Upload a few pictures of different shapes, and wait until they are processed."""
    drawn: list[tuple[str, bytes]] = []
    for size in MODELS:
        file = io.BytesIO()
        Image.effect_mandelbrot(size, (-2.2, -1.2, 0.9, 1.2), 90).convert("RGB").save(file, "JPEG")
        drawn.append(("model.jpg", file.getvalue()))
    _upload(system, client_id, drawn)


def upload_files(system: System, client_id: str, files: Sequence[Path]) -> None:
    """Upload the files, and wait until they are processed."""
    _upload(system, client_id, [(file.name, file.read_bytes()) for file in files])


def _upload(system: System, client_id: str, files: Sequence[tuple[str, bytes]]) -> None:
    with httpx.Client(
        base_url=system.url,
        headers={"Authorization": f"Bearer {system.token(client_id)}"},
        trust_env=False,
    ) as client:
        for file in files:
            sent = client.post("/api/photos/upload", files={"file": file})
            _wait_for(client, sent.raise_for_status().json()["photoId"])


def _wait_for(client: httpx.Client, photo_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = client.get(f"/api/photos/{photo_id}")
        if found.is_success and found.json()["processingStatus"] == "completed":
            return
        time.sleep(0.05)
    raise RuntimeError(f"{photo_id} was not processed within {PATIENCE_S:.0f} s")


@contextmanager
def copy_of_read_model(system: System) -> Generator[Connection]:
    """Copy the read model of the system to a temporary file, which may be lost with the machine."""
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as folder:
        path = Path(folder) / "copy.sqlite3"
        live = open_reader(_path(system))
        live.execute("VACUUM INTO ?", (str(path),))
        live.close()
        copy = Connection(path, read_only=False)
        copy.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        copy.execute("PRAGMA cache_size = -200000; PRAGMA temp_store = MEMORY")
        yield copy
        copy.close()


def _path(system: System) -> Path:
    path = Generations(Settings(data=str(system.data)).read_model_folder).current()
    if path is None:
        raise RuntimeError("the projector has not created a read model yet")
    return path


def _columns(db: Connection) -> Iterator[str]:
    for row in db.execute("SELECT name FROM pragma_table_info('photos')"):
        yield str(row[0])


def fill(system: System, client_id: str, count: int, *, latest: str, every_s: int) -> None:
    """Fill the read model of a running system as ``clone`` does."""
    db = open_writer(_path(system))
    clone(db, client_id, count, latest=latest, every_s=every_s)
    db.close()


def clone(db: Connection, client_id: str, count: int, *, latest: str, every_s: int) -> None:
    """Add ``count`` clones of the client's photos, one each ``every_s`` seconds before ``latest``.

    They share thumbnails with their models; they have no originals and no events.
    """
    columns = list(_columns(db))
    values = ", ".join(CHANGED.get(name, f"models.{name}") for name in columns)
    given: dict[str, str | int] = {
        "count": count,
        "client_id": client_id,
        "latest": latest,
        "every_s": every_s,
    }
    with db.transaction():
        db.execute(OF_MODELS)
        db.execute_many("INSERT INTO of_model VALUES (?, ?)", _renditions(db))
        db.execute(CLONE.format(columns=", ".join(columns), values=values), given)
        db.execute("DROP TABLE of_model")


def _renditions(db: Connection) -> list[tuple[str, str | None]]:
    """Return the renditions of each photo in a form that does not derive their keys from its id."""
    rows = db.execute("SELECT id, renditions FROM photos WHERE deleted_at IS NULL")
    return [(id_, renditions.encode("", renditions.decode(id_, column))) for id_, column in rows]

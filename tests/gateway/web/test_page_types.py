"""The types in the page's comments: TypeScript checks the code against them, and them against HTTP.

``tsc --project gateway/web/jsconfig.json`` shows the errors; editors read the same file.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import msgspec

from domain.photo.events import Metadata, PhotoEvent, StageCompleted
from gateway.routes.login import Login
from gateway.web.pages import FOLDER, pages
from handlers.registry import STAGES
from projections.models.jobs import JobView
from projections.models.photo_view import PhotoView
from tests.servers import unavailable

CONFIG = FOLDER.parent / "jsconfig.json"
GET_TYPESCRIPT = "no TypeScript on this machine: npm install --global typescript"
LONGEST_S = 120.0

ESCAPES = re.compile(r"@ts-\w+|[{<(,|:]\s*any\s*[}>),|;\[]")
"""What turns the check off: for a file or a line, or for a type."""


def check(config: Path, *options: str) -> str:
    """Return what the compiler prints; fail with it if there is a type error."""
    if shutil.which("node") is None or (compiler := shutil.which("tsc")) is None:
        unavailable(GET_TYPESCRIPT)
        return ""
    done = subprocess.run(
        [compiler, "--project", str(config), "--pretty", "false", *options],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_code_of_every_module_fits_its_types() -> None:
    checked = {Path(line) for line in check(CONFIG, "--listFiles").splitlines()}

    assert {FOLDER / name for name in pages() if name.endswith(".js")} <= checked


def test_no_module_escapes_the_check() -> None:
    for path in FOLDER.rglob("*.js"):
        assert ESCAPES.findall(path.read_text("utf-8")) == [], path.name


def declared(schema: dict[str, Any]) -> str:
    """Return the TypeScript type of what the server sends, which never leaves out a field."""
    match schema:
        case {"$ref": str(name)}:
            return name
        case {"anyOf": choices}:
            return " | ".join(declared(each) for each in choices)
        case {"enum": values}:
            return " | ".join(json.dumps(each) for each in values)
        case {"properties": fields}:
            return f"{{{'; '.join(f'{name}: {declared(each)}' for name, each in fields.items())}}}"
        case {"items": item}:
            return f"({declared(item)})[]"
        case {"type": "integer" | "number"}:
            return "number"
        case {"type": "string" | "boolean" | "null" as name}:
            return name
        case _:
            return "unknown"


def test_the_types_are_those_of_http_and_of_the_events(tmp_path: Path) -> None:
    results = {name: stage.result for name, stage in STAGES.items()}
    events = get_args(PhotoEvent)
    sent = (PhotoView, JobView, Login, Metadata, *events, *results.values())
    _, components = msgspec.json.schema_components(sent, ref_template="{name}")
    expected = {
        "page.Photo": PhotoView.__name__,
        "api.Login": Login.__name__,
        "Awaited<ReturnType<typeof api.job>>": JobView.__name__,
        'page.PhotoEvent["metadata"]': Metadata.__name__,
    }
    expected |= {
        f'page.EventData["{each.TYPE}"]': each.__name__
        for each in events
        if each is not StageCompleted
    }
    for stage, result in results.items():
        own = f'{{stage: "{stage}"; result: {result.__name__}}}'
        shown = f'Extract<page.CompletedStage, {{stage: "{stage}"}}>'
        expected[shown] = f'Omit<StageCompleted, "stage" | "result"> & {own}'
    lines = [
        f'import type * as page from "{FOLDER}/photo.js";',
        f'import type * as api from "{FOLDER}/api.js";',
        *(f"type {name} = {declared(schema)};" for name, schema in components.items()),
        *(
            f"export const shown{number}: {shown} = null as never as {sends};"
            for number, (shown, sends) in enumerate(expected.items())
        ),
    ]
    (tmp_path / "http.ts").write_text("\n".join(lines), "utf-8")
    config = tmp_path / "tsconfig.json"
    config.write_text(json.dumps({"extends": str(CONFIG), "include": ["http.ts"]}), "utf-8")

    check(config)

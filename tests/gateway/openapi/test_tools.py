"""The documents in public tools: linters accept them, and generated clients compile."""

import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import Gateway
from tests.gateway.openapi.tools import run

PYTHON_CONFIG = """
content_type_overrides:
  image/*: application/octet-stream
  application/zip: application/octet-stream
  application/offset+octet-stream: application/octet-stream
  application/partial-upload: application/octet-stream
"""
"""The generator knows no other media type for bytes."""

TYPESCRIPT_USE = """
import type { components, operations } from "./photolog";

declare const event: components["schemas"]["Event"];
export function told(): string {
  switch (event.type) {
    case "photo.uploaded": return event.data.originalFilename;
    case "photo.processing.failed": return event.data.error;
    default: return event.metadata.actor;
  }
}
export type Found = operations["getPhoto"]["responses"]["200"]["content"]["application/json"];
export type Path = operations["getPhoto"]["parameters"]["path"]["photoId"];
"""


@pytest.fixture(scope="module")
def gateway(shared_gateway: Gateway) -> Gateway:
    return shared_gateway


@pytest.fixture
async def openapi(document: dict[str, Any], tmp_path: Path) -> Path:
    """The document as a file."""
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


async def test_redocly_finds_no_error(openapi: Path) -> None:
    run("redocly", "lint", openapi)


async def test_spectral_finds_no_error(openapi: Path) -> None:
    rules = openapi.with_name("spectral.yaml")
    rules.write_text('extends: ["spectral:oas"]\n', "utf-8")

    run("spectral", "lint", "--ruleset", rules, openapi)


async def test_a_typescript_client_compiles_and_tells_events_apart(openapi: Path) -> None:
    run("openapi-typescript", openapi, "--output", openapi.with_name("photolog.ts"))
    use = openapi.with_name("use.ts")
    use.write_text(TYPESCRIPT_USE, "utf-8")

    run("tsc", "--strict", "--noEmit", "--target", "es2022", use)


async def test_a_python_client_compiles_and_reads_answers_and_files(
    openapi: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = openapi.parent
    config = folder / "config.yaml"
    config.write_text(PYTHON_CONFIG, "utf-8")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")

    told = run(
        *("openapi-python-client", "generate", "--path", openapi, "--config", config),
        *("--output-path", folder / "photolog_client", "--meta", "none", "--fail-on-warning"),
    )

    assert "WARNING" not in told
    monkeypatch.syspath_prepend(str(folder))  # pyright: ignore[reportUnknownMemberType] # untyped
    client = importlib.import_module("photolog_client")
    for module in pkgutil.walk_packages(client.__path__, "photolog_client."):
        importlib.import_module(module.name)
    models: Any = importlib.import_module("photolog_client.models")
    example = document["paths"]["/api/photos/{photoId}"]["get"]["responses"]["200"]
    photo = models.Photo.from_dict(example["content"]["application/json"]["example"])
    assert photo.uploaded_at.tzinfo is not None
    files: Any = importlib.import_module("photolog_client.api.photos.get_thumbnail")
    assert "File" in str(files.sync.__annotations__["return"])
    for name in [each for each in sys.modules if each.startswith("photolog_client")]:
        del sys.modules[name]

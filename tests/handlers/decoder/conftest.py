"""Fixtures: pools of decoders whose stages fail."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from handlers.decoder.pool import DecoderPool
from tests.handlers.decoders import REGISTRY
from tests.handlers.pictures import encoded, gradient


@pytest.fixture(scope="module")
async def pool() -> AsyncGenerator[DecoderPool]:
    """A pool of two children, for tests that leave both alive."""
    async with DecoderPool(count=2, registry=REGISTRY) as children:
        yield children


@pytest.fixture(scope="module")
async def one() -> AsyncGenerator[DecoderPool]:
    """A pool of one child, for tests that leave it alive."""
    async with DecoderPool(count=1, registry=REGISTRY) as children:
        yield children


@pytest.fixture
async def mortal() -> AsyncGenerator[DecoderPool]:
    """A pool of one child, which may be killed; tasks wait for each other."""
    async with DecoderPool(count=1, registry=REGISTRY) as children:
        yield children


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(gradient(200, 100), "JPEG"))
    return path

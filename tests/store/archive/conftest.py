"""Fixtures for tests of the archive."""

import pytest

from store.blobs.interface import Blobs
from tests.store.blob_stores import Keeper


@pytest.fixture
async def blobs(keeper: Keeper) -> Blobs:
    return await keeper.blobs()

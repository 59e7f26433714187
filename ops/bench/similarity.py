"""Compare a rendition with the photo that it was made from."""

import io
from typing import Any, cast

import numpy as np
from PIL import Image

Levels = np.ndarray[tuple[int, int], np.dtype[np.float64]]

WINDOW = 7
"""Pixels along the edge of the squares that are compared."""

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim_of(whole: Image.Image, rendition: bytes) -> float:
    """Return the similarity of an encoded rendition to the whole photo, reduced to its size."""
    with Image.open(io.BytesIO(rendition)) as small:
        size = small.size
        decoded = _levels(small)
    reduced = whole.resize(size, Image.Resampling.LANCZOS)  # pyright: ignore[reportUnknownMemberType]
    return ssim(_levels(reduced), decoded)


def ssim(one: Levels, other: Levels) -> float:
    """Return the structural similarity of two pictures of equal size, at most 1.

    The mean over all windows of Wang et al. 2004, equation 13, with uniform weights and their
    constants, of levels from 0 to 255.
    """
    mean_one, mean_other = _means(one), _means(other)
    variance_one = _means(one * one) - mean_one**2
    variance_other = _means(other * other) - mean_other**2
    covariance = _means(one * other) - mean_one * mean_other
    similar = (2 * mean_one * mean_other + _C1) * (2 * covariance + _C2)
    similar /= (mean_one**2 + mean_other**2 + _C1) * (variance_one + variance_other + _C2)
    return float(similar.mean())


def _levels(image: Image.Image) -> Levels:
    return np.asarray(cast("Any", image.convert("L")), dtype=np.float64)


def _means(levels: Levels) -> Levels:
    """Return the mean of each window, from sums of the rectangles that begin at the first pixel."""
    height, width = levels.shape
    window = min(WINDOW, height, width)
    sums = np.zeros((height + 1, width + 1))
    sums[1:, 1:] = levels.cumsum(0).cumsum(1)
    inner = sums[window:, window:] - sums[:-window, window:]
    inner -= sums[window:, :-window] - sums[:-window, :-window]
    return inner / window**2

"""Compute with matrices of three rows and columns, and turn primaries into CIE XYZ."""

from handlers.imaging.colours.coding import Primaries

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

D50: Vector = (0.9642, 1.0, 0.8249)
"""The white of the profile connection space (ICC.1:2022, 7.2.16)."""

_BRADFORD: Matrix = (
    (0.8951, 0.2664, -0.1614),
    (-0.7502, 1.7135, 0.0367),
    (0.0389, -0.0685, 1.0296),
)
"""From CIE XYZ to the responses in which whites are adapted (ICC.1:2022, annex E)."""

_TINY = 1e-6


def to_xyz(primaries: Primaries) -> Matrix:
    """Return the matrix from linear light to CIE XYZ; its rows are X, Y and Z.

    Raises ValueError if the chromaticities span no space.
    """
    basis = transposed((_xyz(primaries.red), _xyz(primaries.green), _xyz(primaries.blue)))
    return times(basis, _diagonal(transformed(inverted(basis), _white(primaries))))


def to_d50(primaries: Primaries) -> Matrix:
    """Return the matrix to CIE XYZ with white adapted to D50; raises ValueError as ``to_xyz``."""
    here = transformed(_BRADFORD, _white(primaries))
    there = transformed(_BRADFORD, D50)
    if min(map(abs, here)) < _TINY:
        raise ValueError(f"the white of {primaries.name} cannot be adapted")
    gains = (there[0] / here[0], there[1] / here[1], there[2] / here[2])
    adapt = times(inverted(_BRADFORD), times(_diagonal(gains), _BRADFORD))
    return times(adapt, to_xyz(primaries))


def transformed(matrix: Matrix, vector: Vector) -> Vector:
    """Multiply a matrix with a column."""
    a, b, c = vector
    first, second, third = (row[0] * a + row[1] * b + row[2] * c for row in matrix)
    return first, second, third


def times(left: Matrix, right: Matrix) -> Matrix:
    """Multiply two matrices."""
    first, second, third = (transformed(left, column) for column in transposed(right))
    return transposed((first, second, third))


def transposed(matrix: Matrix) -> Matrix:
    """Exchange rows and columns."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    return (a, d, g), (b, e, h), (c, f, i)


def inverted(matrix: Matrix) -> Matrix:
    """Return the inverse of a matrix; raises ValueError if none can be computed with."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if abs(determinant) < _TINY:
        raise ValueError("the matrix has no inverse")
    n = 1 / determinant
    return (
        (n * (e * i - f * h), n * (c * h - b * i), n * (b * f - c * e)),
        (n * (f * g - d * i), n * (a * i - c * g), n * (c * d - a * f)),
        (n * (d * h - e * g), n * (b * g - a * h), n * (a * e - b * d)),
    )


def _xyz(point: tuple[float, float]) -> Vector:
    return point[0], point[1], 1 - point[0] - point[1]


def _white(primaries: Primaries) -> Vector:
    x, y, z = _xyz(primaries.white)
    if y < _TINY:
        raise ValueError(f"the white of {primaries.name} has no luminance")
    return x / y, 1.0, z / y


def _diagonal(values: Vector) -> Matrix:
    return (values[0], 0.0, 0.0), (0.0, values[1], 0.0), (0.0, 0.0, values[2])

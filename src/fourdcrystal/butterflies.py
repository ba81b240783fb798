"""Fourier transforms of eight lines at a time, compiled for waves (:mod:`fourdcrystal.lanes`).

A transform is Cooley's and Tukey's, in stages of two to eight points or of an odd prime number of them; all eight lines
go through it together.

Stages that halve frequencies leave the numbers in an order of their own (:func:`order`), and stages that halve times,
the same in reverse, take them from it. Where one follows the other, with a multiplication in between, nothing ever has
to be sorted. See docs/decisions/0025.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
from llvmlite import ir

from fourdcrystal.lanes import FLOAT, INTEGER, LANES, POINTER, Complex, Emitter

# Places in lines: a counter, what is added to it, and the least that both can be together
Read = Callable[[ir.Value, int, int], Complex]
Write = Callable[[ir.Value, int, int, Complex], None]
Ends = tuple[Read, Write]


def radices(n: int) -> list[int]:
    """Numbers of points of a transform's stages; their product is n."""
    found, prime = [], 3
    while n % 2 or n & (n - 1):
        while n % prime == 0:
            found.append(prime)
            n //= prime
        prime += 2
    eights, rest = divmod(n.bit_length() - 1, 3)
    if rest == 1 and eights:
        return found + [8] * (eights - 1) + [4, 4]
    return found + [8] * eights + [2**rest] * (rest > 0)


def order(n: int) -> np.ndarray:
    """Which frequency is at each place after stages that halve frequencies, (n,)."""

    def halved(frequencies: np.ndarray, stages: Sequence[int]) -> np.ndarray:
        """Frequencies in the order in which the stages leave them."""
        if not stages:
            return frequencies
        return np.concatenate([halved(frequencies[q :: stages[0]], stages[1:]) for q in range(stages[0])])

    return halved(np.arange(n), radices(n))


class Transforms(Emitter):
    """Writes transforms of lines.

    Lines in memory are (n, 2, LANES) float32: real and imaginary parts of number j of all lines, then of number j + 1.
    """

    def __init__(self, n: int) -> None:
        """Begin a module for lines of ``n`` numbers."""
        super().__init__()
        self.n = n

    def small(self, x: list[Complex], sign: int) -> list[Complex]:
        """Transform of a few numbers, y_q = Σ_k x_k exp(±2πi kq / r)."""
        if len(x) == 2:
            return [self.plus(*x), self.minus(*x)]
        if len(x) % 2 == 0:
            even, odd = (self.small(half, sign) for half in (x[::2], x[1::2]))
            low, high = [], []
            for k, (a, b) in enumerate(zip(even, odd, strict=True)):
                low.append(self._turned(a, b, k, len(x), sign))
                high.append(self._turned(a, b, k + len(x) // 2, len(x), sign))
            return low + high
        return self._odd(x, sign)

    def _turned(self, a: Complex, b: Complex, k: int, r: int, sign: int) -> Complex:
        """a + b exp(±2πi k / r) for r = 4 and 8, without the multiplications by 1 and i."""
        eighth = 8 * k // r
        if eighth % 2 == 0:
            return [self.plus(a, b), self.plus_i(a, b, sign), self.minus(a, b), self.plus_i(a, b, -sign)][eighth // 2]
        diagonal = self.plus_i(b, b, sign if eighth in (1, 5) else -sign)  # (1 ± i) b
        return (self.plus if eighth in (1, 7) else self.minus)(a, self.scaled(diagonal, math.sqrt(0.5)))

    def _odd(self, x: list[Complex], sign: int) -> list[Complex]:
        """An odd number of them: pairs x_k ± x_(r-k) share their cosines and sines."""
        r, pairs = len(x), range(1, (len(x) + 1) // 2)
        sums, differences = ([way(x[k], x[r - k]) for k in pairs] for way in (self.plus, self.minus))
        y = [x[0]] * r
        for pair in sums:
            y[0] = self.plus(y[0], pair)
        for q in pairs:
            angles = [2 * math.pi * k * q / r for k in pairs]
            real = x[0]
            for pair, angle in zip(sums, angles, strict=True):
                real = self.plus(real, self.scaled(pair, math.cos(angle)))
            imaginary = self.scaled(differences[0], math.sin(angles[0]))
            for difference, angle in zip(differences[1:], angles[1:], strict=True):
                imaginary = self.plus(imaginary, self.scaled(difference, math.sin(angle)))
            y[q], y[r - q] = self.plus_i(real, imaginary, sign), self.plus_i(real, imaginary, -sign)
        return y

    def stages(self) -> list[tuple[int, int]]:
        """Length of the pieces that a stage transforms, and its number of points; halving frequencies."""
        found, length = [], self.n
        for radix in radices(self.n):
            found.append((length, radix))
            length //= radix
        return found

    def stage(
        self,
        length: int,
        radix: int,
        sign: int,
        times: bool,
        read: Read,
        write: Write,
        borders: Iterable[int] = (),
        multiplied: Callable[[ir.Value, int, Complex], Complex] | None = None,
    ) -> None:
        """All transforms of ``radix`` points within pieces of a length, with the phases between two stages.

        Args:
            length: Of the pieces.
            radix: Points of a transform.
            sign: Of the exponent: -1 there, 1 back.
            times: Halve times, where phases come before the transform; otherwise frequencies, where they come after it.
            read: Gives a number of all lines.
            write: Takes a number of all lines.
            borders: Numbers of the lines at which ``read`` or ``write`` change what they do.
            multiplied: What to do with each number before the same transforms back; for the stage of neighbours.
        """
        step = length // radix
        ends = sorted({0, step} | {border % step for border in borders if length == self.n})
        with self.loop(self.n // length) as piece:
            first = self.builder.mul(piece, INTEGER(length))
            for low, high in pairwise(ends):
                with self.loop(high - low) as counter:
                    j = self.builder.add(counter, INTEGER(low))
                    places = [(self.builder.add(first, j), q * step, q * step + low) for q in range(radix)]
                    values = [read(*place) for place in places]
                    if step > 1 and times:
                        values = self._turned_by_phases(values, j, length, sign)
                    values = self.small(values, sign)
                    if step > 1 and not times:
                        values = self._turned_by_phases(values, j, length, sign)
                    if multiplied is not None:
                        values = [multiplied(*place[:2], value) for place, value in zip(places, values, strict=True)]
                        values = self.small(values, -sign)
                    for place, value in zip(places, values, strict=True):
                        write(*place, value)

    def middle(self, name: str, sign: int, times: bool) -> ir.Function:
        """A function that does all stages on lines but the one of all points, and the one of neighbours."""
        stages = self.stages()[1:-1]
        with self.function(name, 1, internal=True) as (lines,):
            for length, radix in reversed(stages) if times else stages:
                self.stage(length, radix, sign, times, *self.on(lines))
        return self.module.get_global(name)

    def on(self, lines: ir.Value) -> Ends:
        """Reading from lines, and writing to them."""

        def place(first: ir.Value, offset: int) -> ir.Value:
            """Where a number of all lines is."""
            return self.at(lines, (first, 2 * LANES), (offset, 2 * LANES))

        def read(first: ir.Value, offset: int, _: int) -> Complex:
            """A number of all lines."""
            return self.load_pair(place(first, offset))

        def write(first: ir.Value, offset: int, _: int, value: Complex) -> None:
            """Keep a number of all lines."""
            self.store_pair(value, place(first, offset))

        return read, write

    def _turned_by_phases(self, values: list[Complex], j: ir.Value, length: int, sign: int) -> list[Complex]:
        others = len(values) - 1
        own = self.at(self._phases(length, len(values), sign), (j, 2 * others))
        factors = [tuple(self.spread(self.at(own, (2 * q + part, 1))) for part in (0, 1)) for q in range(others)]
        return [values[0], *(self.times(value, factor) for value, factor in zip(values[1:], factors, strict=True))]

    def _phases(self, length: int, radix: int, sign: int) -> ir.Value:
        """exp(±2πi jq / length) for j < length / radix and 0 < q < radix, real and imaginary parts side by side."""
        name = f"phases_{length}_{radix}_{'there' if sign < 0 else 'back'}"
        if name not in self.module.globals:
            turns = np.outer(np.arange(length // radix), np.arange(1, radix)) / length
            numbers = np.exp(sign * 2j * np.pi * turns).astype(np.complex64).view(np.float32).ravel()
            table = ir.GlobalVariable(self.module, ir.ArrayType(FLOAT, len(numbers)), name)
            table.linkage, table.global_constant, table.align = "internal", True, 64
            table.initializer = ir.Constant(table.type.pointee, [float(number) for number in numbers])
        return self.builder.bitcast(self.module.get_global(name), POINTER)

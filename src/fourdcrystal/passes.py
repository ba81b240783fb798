"""Passes over a wave on a CPU, compiled for this processor: transform lines, do something with them, transform back.

Three kinds of memory, all float32 and LANES lines side by side (:mod:`fourdcrystal.lanes`):

* waves, half transformed, over (x, k_y): (n / LANES, C, 2, LANES), where the lines are those of constant x;
* samples in real space: (n / LANES, 2, n, LANES), where the lines are those of constant x, and y is in a transform's
  order;
* kernels and spectra in Fourier space: (C / LANES, 2, n, LANES), where the lines are those of constant k_y, and k_x is
  in a transform's order.

C is the number of columns (k_y) that waves keep, half of them from zero on and half of them up to -1/n.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from fourdcrystal.butterflies import Ends, Transforms, order
from fourdcrystal.lanes import INTEGER, LANES, VECTOR, Complex

PAIR = 2 * LANES  # numbers of a place in a wave or in lines
ARGUMENTS = {  # of each pass; all are arrays
    "put": ("wave", "samples", "lines"),
    "get": ("wave", "samples", "lines"),
    "multiply": ("wave", "samples", "lines"),
    "multiply_seen": ("wave", "samples", "lines", "intensity"),
    "filter": ("wave", "kernel", "lines"),
    "filter_seen": ("wave", "kernel", "lines", "diffracted"),
    "forward": ("wave", "kernel", "lines", "spectrum"),
    "forward_add": ("wave", "kernel", "lines", "spectrum"),
    "backward": ("wave", "spectrum", "lines"),
}


class Passes(Transforms):
    """Writes the passes over waves of n points, of which C columns are kept."""

    def __init__(self, n: int, columns: int) -> None:
        super().__init__(n)
        self._columns, self._across, self._down = columns, n // LANES, columns // LANES
        self._there, self._back = self.middle("there", -1, times=False), self.middle("back", 1, times=False)
        self._there_in_order = self.middle("there_in_order", -1, times=True)
        self._back_in_order = self.middle("back_in_order", 1, times=True)
        self._frequencies = ir.GlobalVariable(self.module, ir.ArrayType(INTEGER, n), "frequencies")
        self._frequencies.linkage, self._frequencies.global_constant = "internal", True
        self._frequencies.initializer = ir.Constant(self._frequencies.type.pointee, order(n).tolist())
        for name in ("put", "get", "multiply", "multiply_seen"):
            with self.function(name, len(ARGUMENTS[name])) as pointers, self.loop(self._across) as block:
                self._along_y(name, block, *pointers)
        for name in ("filter", "filter_seen", "forward", "forward_add", "backward"):
            with self.function(name, len(ARGUMENTS[name])) as pointers, self.loop(self._down) as block:
                self._along_x(name, block, *pointers)

    def _along_y(
        self, name: str, block: ir.Value, wave: ir.Value, samples: ir.Value, lines: ir.Value, *intensity: ir.Value
    ) -> None:
        """A pass over eight lines of constant x: half transformed waves to real space and back."""
        own, part = self.at(wave, (block, PAIR * self._columns)), LANES * self.n
        real = self.at(samples, (block, 2 * part))

        def sample(first: ir.Value, offset: int) -> ir.Value:
            """Where a sample in real space is."""
            return self.at(real, (first, LANES), (offset, LANES))

        def read(first: ir.Value, offset: int, _: int) -> Complex:
            """A sample in real space."""
            return self.load_pair(sample(first, offset), part)

        def write(first: ir.Value, offset: int, _: int, value: Complex) -> None:
            """Keep a sample in real space."""
            self.store_pair(value, sample(first, offset), part)

        def multiplied(first: ir.Value, offset: int, value: Complex) -> Complex:
            """A number times its sample; its power is kept where it is asked for."""
            for seen in intensity:
                self.store(self.power(value), self.at(seen, (block, part), (first, LANES), (offset, LANES)))
            return self.times(value, self.load_pair(sample(first, offset), part))

        outside, borders = self._kept(own), (self._columns // 2, self.n - self._columns // 2)
        if name == "put":
            self._one_way(lines, self._there_in_order, -1, (read, outside[1]), True, borders)
        elif name == "get":
            self._one_way(lines, self._back, 1, (outside[0], write), False, borders)
        else:
            self._both_ways(lines, (self._back, self._there_in_order), 1, outside, multiplied, borders)

    def _along_x(
        self, name: str, block: ir.Value, wave: ir.Value, kernel: ir.Value, lines: ir.Value, *result: ir.Value
    ) -> None:
        """A pass over eight lines of constant k_y: half transformed waves to Fourier space and back."""
        own, part = self.at(kernel, (block, PAIR * self.n)), LANES * self.n

        def multiplied(first: ir.Value, offset: int, value: Complex) -> Complex:
            """A number times its kernel; its power is kept where a camera sees it."""
            value = self.times(value, self.load_pair(self.at(own, (first, LANES), (offset, LANES)), part))
            if name == "filter_seen":
                place = self.builder.add(first, INTEGER(offset))
                row = self.builder.load(self.builder.gep(self._frequencies, [INTEGER(0), place], inbounds=True))
                self.store(self.power(value), self.at(*result, (row, self._columns), (block, LANES)))
            return value

        def write(first: ir.Value, offset: int, _: int, value: Complex) -> None:
            """Keep, or add, a spectrum's number times its kernel."""
            there = self.at(*result, (block, 2 * part), (first, LANES), (offset, LANES))
            value = multiplied(first, offset, value)
            if name == "forward_add":
                value = self.plus(self.load_pair(there, part), value)
            self.store_pair(value, there, part)

        def read(first: ir.Value, offset: int, _: int) -> Complex:
            """A number of a spectrum."""
            return self.load_pair(self.at(own, (first, LANES), (offset, LANES)), part)

        outside = self.on(lines)
        if name != "backward":
            self._turn(wave, block, lines)
        if name == "backward":
            self._one_way(lines, self._back_in_order, 1, (read, outside[1]), times=True)
        elif name.startswith("forward"):
            self._one_way(lines, self._there, -1, (outside[0], write))
        else:
            self._both_ways(lines, (self._there, self._back_in_order), -1, outside, multiplied)
        if not name.startswith("forward"):
            self._turn(wave, block, lines, inverse=True)

    def _kept(self, wave: ir.Value) -> Ends:
        """Reading from a wave's columns, with zeros between them, and writing to them."""
        half, dropped, zero = self._columns // 2, self.n - self._columns, ir.Constant(VECTOR, [0.0] * LANES)

        def column(first: ir.Value, offset: int, least: int) -> ir.Value | None:
            """Where a column is kept; None if it is dropped."""
            if half <= least < self.n - half:
                return None
            return self.at(wave, (first, PAIR), (offset if least < half else offset - dropped, PAIR))

        def read(first: ir.Value, offset: int, least: int) -> Complex:
            """A column's number, zero where it is dropped."""
            place = column(first, offset, least)
            return (zero, zero) if place is None else self.load_pair(place)

        def write(first: ir.Value, offset: int, least: int, value: Complex) -> None:
            """Keep a column's number unless it is dropped."""
            if (place := column(first, offset, least)) is not None:
                self.store_pair(value, place)

        return read, write

    def _one_way(
        self,
        lines: ir.Value,
        middle: ir.Function,
        sign: int,
        ends: Ends,
        times: bool = False,
        borders: Sequence[int] = (),
    ) -> None:
        """A transform of lines, read from somewhere and written somewhere."""
        stages = self.stages()[::-1] if times else self.stages()
        if len(stages) == 1:
            self.stage(*stages[0], sign, times, *ends, borders)
            return
        read, write = self.on(lines)
        self.stage(*stages[0], sign, times, ends[0], write, borders)
        self.builder.call(middle, [lines])
        self.stage(*stages[-1], sign, times, read, ends[1], borders)

    def _both_ways(
        self,
        lines: ir.Value,
        middles: tuple[ir.Function, ir.Function],
        sign: int,
        ends: Ends,
        multiplied: Callable[[ir.Value, int, Complex], Complex],
        borders: Sequence[int] = (),
    ) -> None:
        """A transform of lines, a multiplication, and the transform back; it and the stages beside it are one."""
        stages, inner = self.stages(), self.on(lines)
        if len(stages) == 1:
            self.stage(*stages[0], sign, False, *ends, borders, multiplied)
            return
        self.stage(*stages[0], sign, False, ends[0], inner[1], borders)
        self.builder.call(middles[0], [lines])
        self.stage(*stages[-1], sign, False, *inner, (), multiplied)
        self.builder.call(middles[1], [lines])
        self.stage(*stages[0], -sign, True, inner[0], ends[1], borders)

    def _turn(self, wave: ir.Value, block: ir.Value, lines: ir.Value, inverse: bool = False) -> None:
        """Lines of constant k_y out of a wave, or back into it: squares of LANES x LANES numbers are transposed."""
        with self.loop(self._across) as across:
            tile = self.at(wave, (across, PAIR * self._columns), (block, PAIR * LANES))
            line = self.at(lines, (across, PAIR * LANES))
            source, target = (line, tile) if inverse else (tile, line)
            for part in (0, LANES):
                rows = [self.load(self.at(source, (i, PAIR), (1, part))) for i in range(LANES)]
                for i, row in enumerate(self.transposed(rows)):
                    self.store(row, self.at(target, (i, PAIR), (1, part)))


class Compiled:
    """The passes for one size of wave."""

    def __init__(self, n: int, columns: int) -> None:
        """Compile them, which takes some tenths of a second.

        Args:
            n: Points of the grid along an axis, a multiple of LANES.
            columns: That are kept, a multiple of LANES.
        """
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
        )
        module = llvm.parse_assembly(str(Passes(n, columns).module))
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self._functions = {}
        for name, arguments in ARGUMENTS.items():
            signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arguments))
            self._functions[name] = signature(self._engine.get_function_address(name))

    def run(self, name: str, *addresses: int) -> None:
        """Do a pass over a wave; :data:`ARGUMENTS` says where the addresses are of."""
        self._functions[name](*addresses)


@lru_cache(maxsize=8)
def compiled(n: int, columns: int) -> Compiled:
    """The passes for one size of wave, compiled when they are first wanted."""
    return Compiled(n, columns)


def aligned(*shape: int) -> np.ndarray:
    """Zeros, float32, that begin at a border between lines of the cache."""
    count, line = int(np.prod(shape)), 64
    memory = np.zeros(4 * count + line, np.uint8)
    start = -memory.ctypes.data % line
    return memory[start : start + 4 * count].view(np.float32).reshape(shape)


def address(array: np.ndarray, size: int) -> int:
    """Where an array begins.

    Raises:
        ValueError: if it isn't one of so many float32 numbers, side by side.
    """
    if array.size != size or array.dtype != np.float32 or not array.flags.c_contiguous:
        raise ValueError(f"a pass wants {size} float32 numbers, not {array.shape} of {array.dtype}")
    return array.ctypes.data

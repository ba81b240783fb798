"""Passes over a wave on a CPU, compiled for this processor: transform lines, do something with them, transform back.

Three kinds of memory, all float32 and LANES lines side by side (:mod:`fourdcrystal.butterflies`):

* waves, half transformed, over (x, k_y): (n / LANES, C, 2, LANES), where the lines are those of constant x;
* samples in real space: (n / LANES, 2, n, LANES), where the lines are those of constant x, and y is in a transform's
  order;
* kernels and spectra in Fourier space: (C / LANES, 2, n, LANES), where the lines are those of constant k_y, and k_x is
  in a transform's order.

C is the number of columns (k_y) that waves keep, half of them from zero on and half of them up to -1/n.
"""

import ctypes
from functools import lru_cache

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from fourdcrystal.butterflies import INTEGER, LANES, VECTOR, Emitter, order

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


class Passes(Emitter):
    """Writes the passes over waves of n points, of which C columns are kept."""

    def __init__(self, n: int, columns: int) -> None:
        super().__init__(n)
        self._columns, self._across, self._down = columns, n // LANES, columns // LANES
        self._there = self.transform("there", -1), self.transform("there_in_order", -1, halves_times=True)
        self._back = self.transform("back", 1), self.transform("back_in_order", 1, halves_times=True)
        self._along_y()
        self._along_x()

    def _along_y(self) -> None:
        """Passes over lines of constant x: half transformed waves to real space and back."""
        for name in ("put", "get", "multiply", "multiply_seen"):
            with self.function(name, len(ARGUMENTS[name])) as pointers, self.loop(self._across) as block:
                self._eight_along_y(name, block, *pointers)

    def _eight_along_y(
        self, name: str, block: ir.Value, wave: ir.Value, samples: ir.Value, lines: ir.Value, *intensity: ir.Value
    ) -> None:
        own, real = self.at(wave, (block, PAIR * self._columns)), self.at(samples, (block, PAIR * self.n))
        apart = LANES * self.n  # real and imaginary parts of a sample
        if name != "put":
            self._spread_columns(own, lines)
            self.builder.call(self._back[0], [lines])
        with self.loop(self.n) as y:
            sample, place = self.at(real, (y, LANES)), self.at(lines, (y, PAIR))
            if name == "get":
                self.store_pair(self.load_pair(place), sample, apart)
            elif name == "put":
                self.store_pair(self.load_pair(sample, apart), place)
            else:
                value = self.load_pair(place)
                for seen in intensity:
                    self.store(self.power(value), self.at(seen, (block, LANES * self.n), (y, LANES)))
                self.store_pair(self.times(value, self.load_pair(sample, apart)), place)
        if name != "get":
            self.builder.call(self._there[1], [lines])
            self._gather_columns(lines, own)

    def _spread_columns(self, wave: ir.Value, lines: ir.Value) -> None:
        """The kept columns into lines that are zero between them."""
        half, zero = self._columns // 2, ir.Constant(VECTOR, [0.0] * LANES)
        for start, to in ((0, 0), (half, self.n - half)):
            with self.loop(half) as column:
                self.store_pair(
                    self.load_pair(self.at(wave, (column, PAIR), (start, PAIR))),
                    self.at(lines, (column, PAIR), (to, PAIR)),
                )
        if self.n > self._columns:
            with self.loop(self.n - self._columns) as column:
                self.store_pair((zero, zero), self.at(lines, (column, PAIR), (half, PAIR)))

    def _gather_columns(self, lines: ir.Value, wave: ir.Value) -> None:
        half = self._columns // 2
        for start, to in ((0, 0), (self.n - half, half)):
            with self.loop(half) as column:
                value = self.load_pair(self.at(lines, (column, PAIR), (start, PAIR)))
                self.store_pair(value, self.at(wave, (column, PAIR), (to, PAIR)))

    def _along_x(self) -> None:
        """Passes over lines of constant k_y: half transformed waves to Fourier space and back."""
        self._frequencies = ir.GlobalVariable(self.module, ir.ArrayType(INTEGER, self.n), "frequencies")
        self._frequencies.linkage, self._frequencies.global_constant = "internal", True
        self._frequencies.initializer = ir.Constant(self._frequencies.type.pointee, order(self.n).tolist())
        for name in ("filter", "filter_seen", "forward", "forward_add", "backward"):
            with self.function(name, len(ARGUMENTS[name])) as pointers, self.loop(self._down) as block:
                self._eight_along_x(name, block, *pointers)

    def _eight_along_x(
        self, name: str, block: ir.Value, wave: ir.Value, kernel: ir.Value, lines: ir.Value, *result: ir.Value
    ) -> None:
        own, apart = self.at(kernel, (block, PAIR * self.n)), LANES * self.n
        if name != "backward":
            self._turn(wave, block, lines)
            self.builder.call(self._there[0], [lines])
        with self.loop(self.n) as x:
            here = self.at(lines, (x, PAIR))
            value = self.load_pair(self.at(own, (x, LANES)), apart)
            if name != "backward":
                value = self.times(self.load_pair(here), value)
            if name == "filter_seen":
                place = self.builder.gep(self._frequencies, [INTEGER(0), x], inbounds=True)
                row = self.builder.load(place)
                self.store(self.power(value), self.at(*result, (row, self._columns), (block, LANES)))
            if name.startswith("forward"):
                there = self.at(*result, (block, PAIR * self.n), (x, LANES))
                if name == "forward_add":
                    value = self.plus(self.load_pair(there, apart), value)
                self.store_pair(value, there, apart)
            else:
                self.store_pair(value, here)
        if not name.startswith("forward"):
            self.builder.call(self._back[1], [lines])
            self._turn(wave, block, lines, inverse=True)

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
        """Compile them, which takes about 0.1 s.

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
        sizes = {
            "wave": 2 * n * columns,
            "samples": 2 * n * n,
            "lines": PAIR * n,
            "kernel": 2 * n * columns,
            "spectrum": 2 * n * columns,
            "intensity": n * n,
            "diffracted": n * columns,
        }
        for name, arguments in ARGUMENTS.items():
            signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arguments))
            function = signature(self._engine.get_function_address(name))
            self._functions[name] = function, [sizes[argument] for argument in arguments]

    def run(self, name: str, *arrays: np.ndarray) -> None:
        """Do a pass over a wave; :data:`ARGUMENTS` says what it wants.

        Raises:
            ValueError: if an array isn't one of as many float32 numbers, side by side.
        """
        function, sizes = self._functions[name]
        for array, size in zip(arrays, sizes, strict=True):
            if array.size != size or array.dtype != np.float32 or not array.flags.c_contiguous:
                raise ValueError(f"{name} wants {size} float32 numbers, not {array.shape} of {array.dtype}")
        function(*(array.ctypes.data for array in arrays))


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

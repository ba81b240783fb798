"""Functions that do the same with eight numbers at once, written in the language of the compiler LLVM.

A processor multiplies and adds eight numbers in one instruction. They are one number each of eight lines, which lie
side by side in memory (number j of all eight, then number j + 1): no number of one line ever has to move to another's
place. See docs/decisions/0025.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from llvmlite import ir

LANES = 8  # lines side by side
INTEGER, FLOAT = ir.IntType(64), ir.FloatType()
VECTOR, POINTER = ir.VectorType(FLOAT, LANES), ir.FloatType().as_pointer()
FUSED = ("contract", "nsz")  # a product and a sum may be one instruction; adding 0 is nothing
Complex = tuple[ir.Value, ir.Value]  # real and imaginary parts of a number of all lines


class Emitter:
    """Writes functions of a module, instruction by instruction, at the end of ``builder``'s block.

    Attributes:
        module: What is written.
        builder: Where the next instruction goes.
    """

    def __init__(self) -> None:
        """Begin a module."""
        self.module, self.builder = ir.Module("lines"), ir.IRBuilder()

    @contextmanager
    def function(self, name: str, arguments: int, internal: bool = False) -> Iterator[Sequence[ir.Value]]:
        """A function of some pointers to memory that doesn't overlap; its body is what the context writes."""
        made = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER] * arguments), name)
        made.linkage = "internal" if internal else "external"
        made.attributes.add("nounwind")
        for argument in made.args:
            argument.add_attribute("noalias")
        self.builder = ir.IRBuilder(made.append_basic_block())
        yield made.args
        self.builder.ret_void()

    @contextmanager
    def loop(self, count: int) -> Iterator[ir.Value]:
        """A loop whose body is what the context writes, with a counter from 0."""
        before, body = self.builder.block, self.builder.append_basic_block()
        self.builder.branch(body)
        self.builder.position_at_end(body)
        counter = self.builder.phi(INTEGER)
        counter.add_incoming(INTEGER(0), before)
        yield counter
        following = self.builder.add(counter, INTEGER(1), flags=("nuw", "nsw"))
        counter.add_incoming(following, self.builder.block)
        after = self.builder.append_basic_block()
        self.builder.cbranch(self.builder.icmp_unsigned("<", following, INTEGER(count)), body, after)
        self.builder.position_at_end(after)

    def at(self, memory: ir.Value, *steps: tuple[ir.Value | int, int]) -> ir.Value:
        """A place in memory: any number of steps of so many numbers each."""
        for steps_, size in steps:
            factor = INTEGER(steps_) if isinstance(steps_, int) else steps_
            memory = self.builder.gep(memory, [self.builder.mul(factor, INTEGER(size))], inbounds=True)
        return memory

    def load(self, place: ir.Value) -> ir.Value:
        """One number of each line."""
        return self.builder.load(self.builder.bitcast(place, VECTOR.as_pointer()), align=4 * LANES)

    def store(self, value: ir.Value, place: ir.Value) -> None:
        """Write one number of each line."""
        self.builder.store(value, self.builder.bitcast(place, VECTOR.as_pointer()), align=4 * LANES)

    def load_pair(self, place: ir.Value, apart: int = LANES) -> Complex:
        """A complex number of each line; its two parts are ``apart`` numbers apart."""
        return self.load(place), self.load(self.at(place, (1, apart)))

    def store_pair(self, value: Complex, place: ir.Value, apart: int = LANES) -> None:
        """Write a complex number of each line; its two parts are ``apart`` numbers apart."""
        self.store(value[0], place)
        self.store(value[1], self.at(place, (1, apart)))

    def constant(self, number: float) -> ir.Value:
        """The same number for each line."""
        return ir.Constant(VECTOR, [float(np.float32(number))] * LANES)

    def spread(self, place: ir.Value) -> ir.Value:
        """One number in memory, for each line."""
        none, first = ir.Constant(VECTOR, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        alone = self.builder.insert_element(none, self.builder.load(place), ir.IntType(32)(0))
        return self.builder.shuffle_vector(alone, none, first)

    def plus(self, a: Complex, b: Complex) -> Complex:
        """a + b."""
        return self.builder.fadd(a[0], b[0], flags=FUSED), self.builder.fadd(a[1], b[1], flags=FUSED)

    def minus(self, a: Complex, b: Complex) -> Complex:
        """a - b."""
        return self.builder.fsub(a[0], b[0], flags=FUSED), self.builder.fsub(a[1], b[1], flags=FUSED)

    def plus_i(self, a: Complex, b: Complex, sign: int) -> Complex:
        """a ± i b."""
        add, subtract = self.builder.fadd, self.builder.fsub
        real, imaginary = (subtract, add) if sign > 0 else (add, subtract)
        return real(a[0], b[1], flags=FUSED), imaginary(a[1], b[0], flags=FUSED)

    def scaled(self, a: Complex, factor: float) -> Complex:
        """A real factor times a."""
        c = self.constant(factor)
        return self.builder.fmul(a[0], c, flags=FUSED), self.builder.fmul(a[1], c, flags=FUSED)

    def times(self, a: Complex, b: Complex) -> Complex:
        """a b."""
        rr, ii, ri, ir_ = (self.builder.fmul(a[i], b[j], flags=FUSED) for i, j in ((0, 0), (1, 1), (0, 1), (1, 0)))
        return self.builder.fsub(rr, ii, flags=FUSED), self.builder.fadd(ri, ir_, flags=FUSED)

    def power(self, a: Complex) -> ir.Value:
        """|a|²."""
        squares = (self.builder.fmul(part, part, flags=FUSED) for part in a)
        return self.builder.fadd(*squares, flags=FUSED)

    def transposed(self, rows: list[ir.Value]) -> list[ir.Value]:
        """LANES vectors as a square, transposed by exchanging halves, quarters and so on."""
        rows, half, index = list(rows), LANES // 2, ir.VectorType(ir.IntType(32), LANES)
        while half:
            upper = ir.Constant(index, [lane if not lane & half else LANES + lane - half for lane in range(LANES)])
            lower = ir.Constant(index, [lane + half if not lane & half else LANES + lane for lane in range(LANES)])
            for i in (i for i in range(LANES) if not i & half):
                pair = rows[i], rows[i + half]
                rows[i], rows[i + half] = (self.builder.shuffle_vector(*pair, mask) for mask in (upper, lower))
            half //= 2
        return rows

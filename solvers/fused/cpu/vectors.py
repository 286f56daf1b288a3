"""Short vectors for numba: a type that stands for the processor's vector registers.

A loop over lanes is left to LLVM's judgement: it checks for overlapping arrays at run time and
keeps sums in memory. A value of this type is a register, or a few, by construction; arithmetic on
it is one instruction each. Operations may be contracted to fused multiply-adds but are not
reordered.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

_FLAGS = ("contract", "nsz", "arcp")
_INDEX = ir.IntType(32)

LINE = 64
"""Bytes of a cache line."""

# Numba's own annotations do not describe what this decorator makes of a function.
_intrinsic: Any = extending.intrinsic


class Vector(types.Type):
    """`width` numbers of the type `kind`."""

    def __init__(self, kind: Any, width: int) -> None:
        self.kind = kind
        self.width = width
        super().__init__(name=f"Vector({kind}, {width})")


@extending.register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        element = manager.lookup(vector.kind).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.width))


# --- from and to memory ------------------------------------------------------------------


def _address(
    context: Any, builder: Any, array_type: Any, array: Any, row: Any, vector: Any, width: int
) -> Any:
    """Return the address of element row * width as one of a vector."""
    data = context.make_array(array_type)(context, builder, array).data
    place = builder.gep(data, [builder.mul(row, row.type(width))], inbounds=True)
    return builder.bitcast(place, context.get_value_type(vector).as_pointer())


@_intrinsic
def item(typing: Any, array: Any, index: Any) -> Any:
    """Return array[index] of a flat array; unlike numba, asks not whether the index is negative."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, place = arguments
        data = context.make_array(signature.args[0])(context, builder, values).data
        return builder.load(builder.gep(data, [place], inbounds=True))

    return array.dtype(array, types.intp), codegen


@_intrinsic
def load(typing: Any, array: Any, row: Any, lanes: Any) -> Any:
    """Return row `row` of a contiguous array seen as rows of len(lanes) numbers."""
    vector = Vector(array.dtype, lanes.count)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, row, _ = arguments
        place = _address(context, builder, signature.args[0], values, row, vector, vector.width)
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp, lanes), codegen


@_intrinsic
def prefetch(typing: Any, array: Any, row: Any, lanes: Any) -> Any:
    """Ask for row `row` of a contiguous array, as `load` reads it, to be brought near."""
    vector = Vector(array.dtype, lanes.count)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, number, _ = arguments
        place = _address(context, builder, signature.args[0], values, number, vector, vector.width)
        byte = ir.IntType(8).as_pointer()
        kinds = [byte, _INDEX, _INDEX, _INDEX]
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), kinds), "llvm.prefetch.p0"
        )
        start = builder.bitcast(place, byte)
        for offset in range(0, vector.width * vector.kind.bitwidth // 8, LINE):
            line = builder.gep(start, [ir.IntType(64)(offset)])
            builder.call(function, [line, _INDEX(0), _INDEX(3), _INDEX(1)])
        return context.get_dummy_value()

    return types.none(array, types.intp, lanes), codegen


@_intrinsic
def store(typing: Any, array: Any, row: Any, vector: Any) -> Any:
    """Write `vector` to row `row` of a contiguous array seen as rows of its width."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, row, given = arguments
        place = _address(context, builder, signature.args[0], values, row, vector, vector.width)
        builder.store(given, place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), codegen


def _masked(context: Any, builder: Any, vector: Any, count: Any, name: str, *others: Any) -> Any:
    """Return a masked load or store, its place among the arguments, and the mask of `count`."""
    register = context.get_value_type(vector)
    integers = ir.VectorType(count.type, vector.width)
    lanes = ir.Constant(integers, list(range(vector.width)))
    mask = builder.icmp_signed("<", lanes, _splat(builder, count, vector.width))
    align = ir.Constant(_INDEX, vector.kind.bitwidth // 8)
    suffix = f"v{vector.width}f{vector.kind.bitwidth}.p0"
    place = register.as_pointer()
    if name == "load":
        result, kinds = register, [place, _INDEX, mask.type, register]
        arguments = [*others, align, mask, ir.Constant(register, None)]
    else:
        result, kinds = ir.VoidType(), [register, place, _INDEX, mask.type]
        arguments = [*others, align, mask]
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, kinds), f"llvm.masked.{name}.{suffix}"
    )
    return builder.call(function, arguments)


@_intrinsic
def add(typing: Any, array: Any, row: Any, vector: Any) -> Any:
    """Add `vector` to row `row` of a contiguous array seen as rows of its width."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, row, given = arguments
        place = _address(context, builder, signature.args[0], values, row, vector, vector.width)
        align = array.dtype.bitwidth // 8
        before = builder.load(place, align=align)
        builder.store(builder.fadd(before, given, flags=_FLAGS), place, align=align)
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), codegen


@_intrinsic
def load_part(typing: Any, array: Any, first: Any, count: Any, lanes: Any) -> Any:
    """Return array[first:first + count] of a flat array; lanes from `count` on are 0."""
    vector = Vector(array.dtype, lanes.count)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, begin, number, _ = arguments
        place = _address(context, builder, signature.args[0], values, begin, vector, 1)
        return _masked(context, builder, vector, number, "load", place)

    return vector(array, types.intp, types.intp, lanes), codegen


@_intrinsic
def store_part(typing: Any, array: Any, first: Any, count: Any, vector: Any) -> Any:
    """Write the first `count` lanes of `vector` to array[first:first + count], a flat array."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, begin, number, given = arguments
        place = _address(context, builder, signature.args[0], values, begin, vector, 1)
        _masked(context, builder, vector, number, "store", given, place)
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, vector), codegen


@_intrinsic
def splat(typing: Any, value: Any, lanes: Any) -> Any:
    """Return a vector that is `value` in each of len(lanes) lanes."""
    vector = Vector(value, lanes.count)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0], vector.width)

    return vector(value, lanes), codegen


def _splat(builder: Any, value: Any, width: int) -> Any:
    blank = ir.Constant(ir.VectorType(value.type, width), ir.Undefined)
    first = builder.insert_element(blank, value, _INDEX(0))
    return _shuffle(builder, first, first, [0] * width)


def _shuffle(builder: Any, a: Any, b: Any, mask: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INDEX, len(mask)), mask))


# --- arithmetic, between vectors and between a vector and a number -----------------------


def _vectors_of(arguments: tuple[Any, ...]) -> Any:
    """Return the vector type that an operation on `arguments` has, or None."""
    vectors = [a for a in arguments if isinstance(a, Vector)]
    fits = vectors and all(a in (vectors[0], vectors[0].kind) for a in arguments)
    return vectors[0] if fits else None


def _define(operation: Callable[..., Any], instruction: str) -> None:
    @infer_global(operation)
    class _Template(AbstractTemplate):
        def generic(self, arguments: tuple[Any, ...], keywords: Any) -> Any:
            vector = _vectors_of(arguments)
            return None if vector is None else signature(vector, *arguments)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        width = signature.return_type.width
        values = [
            a if isinstance(kind, Vector) else _splat(builder, a, width)
            for kind, a in zip(signature.args, arguments, strict=True)
        ]
        return getattr(builder, instruction)(*values, flags=_FLAGS)

    if instruction == "fneg":
        lower_builtin(operation, Vector)(lower)
        return
    for kinds in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(operation, *kinds)(lower)


for _operations, _instruction in (
    ((operator.add, operator.iadd), "fadd"),
    ((operator.sub, operator.isub), "fsub"),
    ((operator.mul, operator.imul), "fmul"),
    ((operator.truediv,), "fdiv"),
    ((operator.neg,), "fneg"),
):
    for _operation in _operations:
        _define(_operation, _instruction)


@_intrinsic
def where_less(typing: Any, x: Any, limit: Any, yes: Any, no: Any) -> Any:
    """Return `yes` in the lanes where x < limit, a number, and `no` elsewhere."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, number, *choices = arguments
        less = builder.fcmp_ordered("<", vector, _splat(builder, number, x.width))
        return builder.select(less, *choices)

    return x(x, x.kind, x, x), codegen


@_intrinsic
def clamp(typing: Any, x: Any, low: Any, high: Any) -> Any:
    """Return x within [low, high]; NaN stays NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = arguments[0]
        for relation, number in zip("<>", arguments[1:], strict=True):
            limit = _splat(builder, number, x.width)
            outside = builder.fcmp_ordered(relation, vector, limit)
            vector = builder.select(outside, limit, vector)
        return vector

    return x(x, x.kind, x.kind), codegen


@_intrinsic
def shift_exponent(typing: Any, x: Any, n: Any) -> Any:
    """Return x 2^k, k being the integer in the lowest bits of the significands of `n`."""
    bits, significand = x.kind.bitwidth, np.finfo(x.kind.name).nmant

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        integers = ir.VectorType(ir.IntType(bits), x.width)
        value, power = (builder.bitcast(a, integers) for a in arguments)
        power = builder.shl(power, ir.Constant(integers, [significand] * x.width))
        return builder.bitcast(builder.add(value, power), context.get_value_type(x))

    return x(x, x), codegen


def polynomial(coefficients: list[float]) -> Any:
    """Return, for compiled code, the polynomial with these coefficients, lowest first."""

    @_intrinsic
    def evaluate(typing: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = context.get_value_type(x.kind)
            number = np.dtype(x.kind.name).type
            terms = [_splat(builder, kind(float(number(c))), x.width) for c in coefficients]
            value = terms.pop()
            while terms:
                value = builder.fmul(value, arguments[0], flags=_FLAGS)
                value = builder.fadd(value, terms.pop(), flags=_FLAGS)
            return value

        return x(x), codegen

    return evaluate


# --- sums over lanes ---------------------------------------------------------------------


def _halved(builder: Any, vector: Any, width: int) -> Any:
    """Add halves to each other until `width` lanes are left."""
    while vector.type.count > width:
        half = vector.type.count // 2
        low, high = list(range(half)), list(range(half, 2 * half))
        vector = builder.fadd(
            _shuffle(builder, vector, vector, low), _shuffle(builder, vector, vector, high)
        )
    return vector


@_intrinsic
def narrowed(typing: Any, x: Any, lanes: Any) -> Any:
    """Return a vector of len(lanes) lanes with the same sum over all lanes."""
    vector = Vector(x.kind, lanes.count)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _halved(builder, arguments[0], vector.width)

    return vector(x, lanes), codegen


@_intrinsic
def total(typing: Any, x: Any) -> Any:
    """Return the sum of all lanes."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(_halved(builder, arguments[0], 1), _INDEX(0))

    return x.kind(x), codegen


@_intrinsic
def totals(typing: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Return the four sums over all lanes as a vector of four: cheaper than one by one."""
    vector = Vector(a.kind, 4)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        register = 64 // (a.kind.bitwidth // 8)
        wide = [_halved(builder, x, min(x.type.count, register)) for x in arguments]
        ab = _merged(builder, wide[0], wide[1], ([0, 4, 1, 5], [2, 6, 3, 7]))
        cd = _merged(builder, wide[2], wide[3], ([0, 4, 1, 5], [2, 6, 3, 7]))
        return _halved(builder, _merged(builder, ab, cd, ([0, 1, 4, 5], [2, 3, 6, 7])), 4)

    return vector(a, b, c, d), codegen


def _merged(builder: Any, a: Any, b: Any, choices: tuple[list[int], list[int]]) -> Any:
    """Add two choices of four lanes from each group of four lanes of `a` (0 to 3) and `b`."""
    count = a.type.count
    groups = range(0, count, 4)
    first, second = (
        [g + k if k < 4 else count + g + k - 4 for g in groups for k in choice]
        for choice in choices
    )
    return builder.fadd(_shuffle(builder, a, b, first), _shuffle(builder, a, b, second))

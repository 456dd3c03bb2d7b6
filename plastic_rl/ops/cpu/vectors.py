"""Vectors for Numba kernels, and counters that threads share.

LLVM can vectorise the kernels' inner loops by itself. But then it checks at every row that no two of a dozen arrays
overlap, and computes the remainder of each row one number at a time; together this costs more than the work. A ``Vec``
needs neither. It is as wide as a register of AVX-512, or of AVX2 where the machine has no AVX-512; LLVM splits it
where registers are narrower still.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic, models, overload, register_model


def _has(feature: str) -> bool:
    """Whether Numba compiles for machines with this feature: those of NUMBA_CPU_FEATURES, or else of this machine."""
    settings: Any = config  # defines its names while it is loaded, so their types cannot be checked
    if settings.CPU_FEATURES is not None:
        return f"+{feature}" in settings.CPU_FEATURES.split(",")
    return settings.CPU_NAME in (None, "host") and bool(binding.get_host_cpu_features().get(feature))


CACHE_LINE = 64  # bytes
BYTES = 64 if _has("avx512f") else 32  # size of a vector; Numba's cache on disk depends on the same features


class Vec(types.Type):
    """Numba's type of a vector of float32 or float64."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vec({dtype})")


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vec: Vec) -> None:
        count = BYTES * 8 // vec.dtype.bitwidth
        super().__init__(manager, vec, ir.VectorType(manager.lookup(vec.dtype).get_value_type(), count))


@intrinsic
def lanes_of(typing: Any, array: Any) -> Any:
    """Return how many of this array's numbers a vector holds: a constant to the compiler."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(64), BYTES * 8 // array.dtype.bitwidth)

    return types.int64(array), generate


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, vec: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vec.as_pointer())


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """Return the vector that begins at this flat index of a contiguous array."""
    vec = Vec(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = context.get_value_type(vec)
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1], value)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return vec(array, types.intp), generate


@intrinsic
def spread(typing: Any, array: Any, index: Any) -> Any:
    """Return a vector filled with the number at this flat index of a contiguous array."""
    vec = Vec(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        data = context.make_array(array_type)(context, builder, args[0]).data
        number = builder.load(builder.gep(data, [args[1]]), align=array.dtype.bitwidth // 8)
        return _splat(builder, number, context.get_value_type(vec))

    return vec(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a vector at this flat index of a contiguous array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1], args[2].type)
        builder.store(args[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


def _counter(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return context.make_array(signature.args[0])(context, builder, args[0]).data


@intrinsic
def count_up(typing: Any, counter: Any) -> Any:
    """Add 1 to ``counter[0]`` of an int64 array atomically; threads that read it see all earlier writes, too."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = ir.Constant(ir.IntType(64), 1)
        builder.atomic_rmw("add", _counter(context, builder, signature, args), one, "seq_cst")
        return context.get_dummy_value()

    return types.void(counter), generate


@intrinsic
def read_count(typing: Any, counter: Any) -> Any:
    """Read ``counter[0]`` of an int64 array that other threads count up."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_counter(context, builder, signature, args), "seq_cst", 8)

    return types.int64(counter), generate


def _splat(builder: Any, number: Any, vec: Any) -> Any:
    undefined = ir.Constant(vec, ir.Undefined)
    one = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vec.count), [0] * vec.count)
    return builder.shuffle_vector(one, undefined, zeros)


@intrinsic
def splat(typing: Any, number: Any) -> Any:
    """Return a vector filled with this number."""
    vec = Vec(number)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, args[0], context.get_value_type(vec))

    return vec(number), generate


@intrinsic
def total(typing: Any, vec: Any) -> Any:
    """Return the sum of a vector's numbers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = args[0].type
        name = f"llvm.vector.reduce.fadd.v{value.count}f{vec.dtype.bitwidth}"
        function_type = ir.FunctionType(value.element, [value.element, value])
        function = cgutils.get_or_insert_function(builder.module, function_type, name)
        zero = ir.Constant(value.element, 0.0)
        return builder.call(function, [zero, args[0]], fastmath=("reassoc",))

    return vec.dtype(vec), generate


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c`` for vectors or numbers, in one instruction where the machine has it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = args[0].type
        kind = f"v{value.count}f{a.dtype.bitwidth}" if isinstance(a, Vec) else f"f{a.bitwidth}"
        name = f"llvm.fmuladd.{kind}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(value, [value] * 3), name)
        return builder.call(function, args)

    return a(a, b, c), generate


@intrinsic
def keep_rolled(typing: Any) -> Any:
    """Do nothing, but keep LLVM from unrolling the loop around it: the copies would need too many registers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", [], side_effect=True)
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def limit(typing: Any, vec: Any, bound: Any) -> Any:
    """Clamp to [-bound, bound]; NaN stays NaN."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        high = _splat(builder, args[1], args[0].type)
        low = builder.fneg(high)
        below = builder.select(builder.fcmp_ordered(">", args[0], high), high, args[0])
        return builder.select(builder.fcmp_ordered("<", below, low), low, below)

    return vec(vec, bound), generate


@intrinsic
def where_within(typing: Any, value: Any, vec: Any, bound: Any) -> Any:
    """Return ``value`` where ``vec`` lies within [-bound, bound], else 0: the gradient of ``limit``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        high = _splat(builder, args[2], args[1].type)
        inside = builder.and_(
            builder.fcmp_ordered("<=", args[1], high), builder.fcmp_ordered(">=", args[1], builder.fneg(high))
        )
        return builder.select(inside, args[0], ir.Constant(args[0].type, None))

    return value(value, vec, bound), generate


@intrinsic
def one_minus(typing: Any, vec: Any) -> Any:
    """Return ``1 - vec``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = ir.Constant(args[0].type.element, 1.0)
        return builder.fsub(ir.Constant(args[0].type, [one] * args[0].type.count), args[0])

    return vec(vec), generate


@intrinsic
def absolute(typing: Any, vec: Any) -> Any:
    """Return the absolute values."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = args[0].type
        name = f"llvm.fabs.v{value.count}f{vec.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(value, [value]), name)
        return builder.call(function, args)

    return vec(vec), generate


@intrinsic
def signed(typing: Any, value: Any, vec: Any) -> Any:
    """Return ``value`` times the sign of ``vec``: 0 where it is 0, NaN where it is NaN."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        nought = ir.Constant(args[1].type, None)
        neither = builder.fmul(args[1], nought)
        below = builder.select(builder.fcmp_ordered("<", args[1], nought), builder.fneg(args[0]), neither)
        return builder.select(builder.fcmp_ordered(">", args[1], nought), args[0], below)

    return value(value, vec), generate


def _elementwise(operation: Callable, instruction: str) -> None:
    @intrinsic
    def apply(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args)

        return a(a, b), generate

    @overload(operation)
    def typed(a, b):  # Numba compares the names and annotations with the lambda's
        if isinstance(a, Vec) and isinstance(b, Vec):
            return lambda a, b: apply(a, b)
        return None


_elementwise(operator.add, "fadd")
_elementwise(operator.mul, "fmul")


@intrinsic
def _negative(typing: Any, a: Any) -> Any:
    return a(a), lambda context, builder, signature, args: builder.fneg(args[0])


@overload(operator.neg)
def _typed_negative(a):
    if isinstance(a, Vec):
        return lambda a: _negative(a)
    return None

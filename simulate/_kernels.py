"""The Numba kernels: one draw of weights, all contents run through it, and its statistics.

One module, because Numba's cache does not notice a change in another: it stamps what it keeps of a
function with the function's own file, and what the function calls is compiled into it. Only private
classes of Numba could stamp several files. Its sections are headed by comments and stand in order:
the vector code, random numbers, products and norms that everything else is made of; one head, a
block's attention, its MLP and the stack; score maps. A section calls only those above it.

Arrays are (feature, position) with positions contiguous and padded to a multiple of `LANES`, so
that every loop over positions is a vector operation without transposes or horizontal sums. Kernels
validate nothing: `simulate.plan` does.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic, overload

# Codes, tile sizes and options

LANES = 16
"""Positions of one vector."""
WIDTH = 64
"""Queries that attention treats together."""
TILE = 4
"""Rows of a register tile."""
FEATURES = config.CPU_FEATURES or binding.get_host_cpu_features().flatten()
TILE_VECTORS = 4 if "+avx512f" in FEATURES else 1
"""Vectors of a register tile: as many as the registers of this processor hold."""
DEPTH = 256
"""Terms of a product that are summed before the next columns are loaded."""
MLP_ROWS = 256
"""Hidden features of an MLP that are drawn and used at a time."""


def _codes(count: int) -> tuple[np.int64, ...]:
    """Return so many codes: not of Python's type, for each value of which Numba would compile."""
    return tuple(np.int64(k) for k in range(count))


ZERO, ONE = _codes(2)
NORM_RMS, NORM_LAYER = _codes(2)
SOFTMAX, SIGMOID = _codes(2)
QK_NONE, QK_HEAD, QK_PROJECTION, QK_L2 = _codes(4)
MLP_NONE, MLP_PLAIN, MLP_GATED = _codes(3)
ROUTER_SOFTMAX, ROUTER_ALL, ROUTER_SIGMOID, ROUTER_INPUT = _codes(4)
SILU, GELU, GELU_TANH, QUICK_GELU, RELU, RELU2, TANH, LINEAR = _codes(8)
BOS_CONSTANT, BOS_ORDINARY, BOS_ZERO, BOS_MEAN = _codes(4)

(STREAM_SHARED, STREAM_BOS, STREAM_TOKEN, STREAM_WORD, STREAM_CHOICE, STREAM_QUERY, STREAM_KEY,
 STREAM_VALUE, STREAM_OUTPUT, STREAM_SINK, STREAM_UP, STREAM_GATE, STREAM_DOWN, STREAM_ROUTER,
 STREAM_LATENT) = _codes(15)  # fmt: skip

FAST = {"contract", "nsz", "arcp"}
"""No reassociation: it would fold the range reduction of `exp` away."""
OPTIONS: dict[str, Any] = {
    "cache": True, "nogil": True, "fastmath": FAST, "error_model": "numpy",
    "no_cfunc_wrapper": True,
}  # fmt: skip
PART = {**OPTIONS, "no_cpython_wrapper": True}
"""Options of what only kernels call: what unpacks arguments from Python takes long to compile."""

TINY = 1e-30
LOWEST = -1e30
_N = types.intp


class Rows(NamedTuple):
    """What a layer knows of every position; see `simulate.plan`."""

    from_query: Any
    to_query: Any
    seen_from: Any
    seen_to: Any
    low: Any
    high: Any
    sinks: Any
    q_factor: Any
    factor: Any
    bias: Any
    cos: Any
    sin: Any
    turn_cos: Any
    turn_sin: Any
    pairs: Any
    sink: Any


class Vectors(NamedTuple):
    """Biases of a group's queries, keys and values, and gains of its QK-norm; empty for none."""

    query: Any
    key: Any
    value: Any
    query_gain: Any
    key_gain: Any


class Rowwise(NamedTuple):
    """Sums of a block's rows, head by head: see `attend_group`."""

    log_z: Any
    sink: Any
    leak: Any
    score: Any
    first_score: Any


class Room(NamedTuple):
    """Memory that attention works in; see `simulate.forward`."""

    q: Any
    k: Any
    v: Any
    turned: Any
    sink: Any
    mixed: Any
    scores: Any
    behind: Any
    top: Any
    z: Any
    seen: Any
    by_query_part: Any
    squares: Any
    total: Any
    by_offset: Any
    by_offset_all: Any
    by_query: Any
    log_z: Any
    first: Any
    score: Any
    first_score: Any
    sums: Any
    kept: Any


# Numbers of the elementary functions (Cephes' polynomials; Abramowitz and Stegun 7.1.26)

_LN2 = math.log(2)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
_SIN1, _SIN2, _SIN3 = -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1
_COS1, _COS2, _COS3 = 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2
_EXPONENT, _BIAS = np.int32(23), np.int32(127)
_MANTISSA, _SQRT_HALF_BITS = np.int32(0x007FFFFF), np.int32(0x3F3504F3)
_ONE, _TWO = np.float32(1), np.float32(2)
_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_E0, _E1, _E2, _E3, _E4, _E5 = (
    np.float32(x)
    for x in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2,
              1.6666665459e-1, 5.0000001201e-1)
)  # fmt: skip
_EXP_LOW, _EXP_HIGH = np.float32(-87.3), np.float32(88.0)
_ROUND = np.float32(12582912.0)
_T0, _T1, _T2, _T3, _T4, _T5 = (
    np.float32(x)
    for x in (0.3275911, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
)


# Code for one vector of positions


class _Lanes:
    """Writes LLVM code for one vector of positions: loads, masks, functions.

    The compiler does not vectorise loops over a few vectors reliably.
    """

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.context, self.builder, self.bits = context, builder, dtype.bitwidth
        self.type = ir.VectorType(context.get_value_type(dtype), LANES)
        self.integers = ir.VectorType(ir.IntType(32), LANES)

    def place(self, array_type: Any, array: Any, at: Any) -> Any:
        """Return a pointer to the vector that starts at a flat index of an array."""
        data = self.context.make_array(array_type)(self.context, self.builder, array).data
        return self.builder.bitcast(self.builder.gep(data, [at]), self.type.as_pointer())

    def entry(self, array_type: Any, array: Any, at: Any) -> Any:
        """Return one entry of an array."""
        data = self.context.make_array(array_type)(self.context, self.builder, array).data
        return self.builder.load(self.builder.gep(data, [at]))

    def load(self, place: Any) -> Any:
        """Return the vector at a place."""
        return self.builder.load(place, align=self.bits // 8)

    def store(self, value: Any, place: Any) -> None:
        """Write a vector to a place."""
        self.builder.store(value, place, align=self.bits // 8)

    def hold(self, place: Any) -> "_Held":
        """Return a register that starts with the vector at a place."""
        return _Held(self, self.load(place), place)

    def hold_number(self, value: float) -> "_Held":
        """Return a register that starts with a constant."""
        return _Held(self, self.number(value), None)

    def number(self, value: float) -> Any:
        """Return a constant in every lane."""
        return ir.Constant(self.type, [float(value)] * LANES)

    def integer(self, value: int) -> Any:
        """Return an integer in every lane."""
        return ir.Constant(self.integers, [int(value)] * LANES)

    def splat(self, value: Any, kind: Any) -> Any:
        """Return a scalar in every lane of a vector type."""
        blank, word = ir.Constant(kind, ir.Undefined), ir.IntType(32)
        one = self.builder.insert_element(blank, value, word(0))
        return self.builder.shuffle_vector(one, blank, self.integer(0))

    def call(self, name: str, *values: Any) -> Any:
        """Call an LLVM intrinsic whose arguments and result are vectors."""
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.type, [self.type] * len(values)),
            f"llvm.{name}.v{LANES}f{self.bits}",
        )
        return self.builder.call(function, values)

    def within(self, lane: Any, low: Any, high: Any) -> Any:
        """Return where ``low ≤ lane + 0..15 < high``."""
        b = self.builder
        first, start, stop = (
            self.splat(b.trunc(x, ir.IntType(32)), self.integers) for x in (lane, low, high)
        )
        index = b.add(first, ir.Constant(self.integers, list(range(LANES))))
        return b.and_(b.icmp_signed(">=", index, start), b.icmp_signed("<", index, stop))

    def total(self, x: Any) -> Any:
        """Return the sum over lanes, in float64."""
        b, count = self.builder, LANES
        if self.bits < 64:
            x = b.fpext(x, ir.VectorType(ir.DoubleType(), LANES))
        while count > 1:
            count //= 2
            halves = (
                b.shuffle_vector(
                    x,
                    x,
                    ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(k, k + count))),
                )
                for k in (0, count)
            )
            x = b.fadd(*halves)
        return b.extract_element(x, ir.IntType(32)(0))

    def polynomial(self, x: Any, *coefficients: float) -> Any:
        """Return a polynomial, the highest power first."""
        value = self.number(coefficients[0])
        for coefficient in coefficients[1:]:
            value = self.call("fma", value, x, self.number(coefficient))
        return value

    def exp(self, x: Any) -> Any:
        """Return the exponential: as `_exp32` in float32, the library's in float64."""
        if self.bits == 64:
            return self.call("exp", x)
        b = self.builder
        x = self.call(
            "minnum", self.call("maxnum", x, self.number(_EXP_LOW)), self.number(_EXP_HIGH)
        )
        n = self.call("rint", b.fmul(x, self.number(_LOG2E)))
        r = self.call("fma", n, self.number(-_LN2_HIGH), x)
        r = self.call("fma", n, self.number(-_LN2_LOW), r)
        p = self.polynomial(r, _E0, _E1, _E2, _E3, _E4, _E5, _ONE, _ONE)
        power = b.shl(
            b.add(b.fptosi(n, self.integers), self.integer(_BIAS)), self.integer(_EXPONENT)
        )
        return b.fmul(p, b.bitcast(power, self.type))

    def log(self, x: Any) -> Any:
        """Return the natural logarithm, in float32: 3e-7 absolute or relative."""
        b = self.builder
        bits = b.sub(b.bitcast(x, self.integers), self.integer(_SQRT_HALF_BITS))
        exponent = b.ashr(bits, self.integer(_EXPONENT))
        mantissa = b.add(b.and_(bits, self.integer(_MANTISSA)), self.integer(_SQRT_HALF_BITS))
        f = b.fsub(b.bitcast(mantissa, self.type), self.number(1.0))
        p = self.polynomial(f, _L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8)
        square = b.fmul(f, f)
        low = self.call("fma", b.fmul(p, f), square, b.fmul(square, self.number(-0.5)))
        n = b.sitofp(exponent, self.type)
        return self.call("fma", n, self.number(_LN2), b.fadd(f, low))

    def circle(self, bits: Any) -> tuple[Any, Any]:
        """Return cosine and sine of ``2π bits / 2³²``, in float32."""
        b = self.builder
        eighth = b.add(bits, self.integer(2**29))
        quarter = b.lshr(eighth, self.integer(30))
        within = b.sub(b.and_(eighth, self.integer(2**30 - 1)), self.integer(2**29))
        x = b.fmul(b.sitofp(within, self.type), self.number(2 * math.pi * 2.0**-32))
        square = b.fmul(x, x)
        inner = self.polynomial(square, _SIN1, _SIN2, _SIN3)
        sine = self.call("fma", b.fmul(inner, square), x, x)
        inner = self.polynomial(square, _COS1, _COS2, _COS3, -0.5)
        cosine = self.call("fma", inner, square, self.number(1.0))
        odd = b.icmp_signed("!=", b.and_(quarter, self.integer(1)), self.integer(0))
        pairs = ((sine, cosine, b.add(quarter, self.integer(1))), (cosine, sine, quarter))
        turned = []
        for if_odd, if_even, sign in pairs:
            flip = b.shl(b.and_(sign, self.integer(2)), self.integer(30))
            value = b.bitcast(b.select(odd, if_odd, if_even), self.integers)
            turned.append(b.bitcast(b.xor(value, flip), self.type))
        return turned[0], turned[1]


class _Held:
    """A vector that stays in a register for a loop, and is written where it came from."""

    def __init__(self, lanes: _Lanes, start: Any, place: Any) -> None:
        self.lanes, self.place = lanes, place
        self.value = cgutils.alloca_once_value(lanes.builder, start)

    def get(self) -> Any:
        """Return the vector."""
        return self.lanes.builder.load(self.value)

    def update(self, vector: Any) -> None:
        """Set the vector."""
        self.lanes.builder.store(vector, self.value)

    def add(self, vector: Any) -> None:
        """Add to the vector."""
        self.update(self.lanes.builder.fadd(self.get(), vector))

    def write(self) -> None:
        """Write the vector back."""
        self.lanes.store(self.get(), self.place)


# Counter-based random numbers: splitmix64 of a key and a counter, then Box and Muller

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = (np.uint64(n) for n in (27, 30, 31))


@njit(**PART)
def _mix(z):
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@njit(**PART)
def _branch(key, part):
    return _mix((key ^ np.uint64(part)) + _GOLDEN)


@njit(**OPTIONS)
def stream(seed, draw, kind, a, b):
    """Return the key of one stream of random numbers."""
    key = _mix(np.uint64(seed) + _GOLDEN)
    return _branch(_branch(_branch(_branch(key, draw), kind), a), b)


def _write_normals(lanes: _Lanes, z: Any, scale: Any, places: Any, bits: int) -> None:
    """Write the two vectors of normals that follow from one vector of counters."""
    b = lanes.builder
    wide = z.type

    def constant(value: int) -> Any:
        return ir.Constant(wide, [value] * LANES)

    for shift, factor in ((30, int(_MIX1)), (27, int(_MIX2))):
        z = b.mul(b.xor(z, b.lshr(z, constant(shift))), constant(factor))
    z = b.xor(z, b.lshr(z, constant(31)))
    first = b.trunc(b.lshr(z, constant(32)), lanes.integers)
    u = b.fadd(b.uitofp(first, lanes.type), lanes.number(1.0))
    log = lanes.log(b.fmul(u, lanes.number(2.0**-32)))
    radius = lanes.call("sqrt", b.fmul(log, lanes.number(-2.0)))
    for coordinate, place in zip(lanes.circle(b.trunc(z, lanes.integers)), places, strict=True):
        normal = b.fmul(radius, coordinate)
        if bits == 64:
            normal = b.fpext(normal, ir.VectorType(ir.DoubleType(), LANES))
        b.store(b.fmul(normal, scale), place, align=bits // 8)


@intrinsic
def _normal_vectors(context, keys, at, counter, scale, out, first, second):
    """Write two vectors of normals of ``LANES`` streams: their keys plus ``counter`` decide."""
    signature = types.void(keys, _N, types.uint64, out.dtype, out, _N, _N)

    def generate(context, builder, signature, args):
        keys, at, counter, scale, out, *starts = args
        lanes = _Lanes(context, builder, types.float32)
        own = _Lanes(context, builder, signature.args[4].dtype)
        wide = ir.VectorType(ir.IntType(64), LANES)
        data = context.make_array(signature.args[0])(context, builder, keys).data
        place = builder.bitcast(builder.gep(data, [at]), wide.as_pointer())
        z = builder.add(builder.load(place, align=8), own.splat(counter, wide))
        places = [own.place(signature.args[4], out, start) for start in starts]
        _write_normals(lanes, z, own.splat(scale, own.type), places, own.bits)
        return context.get_dummy_value()

    return signature, generate


@njit(**OPTIONS)
def fill_normal(key, std, out):
    """Fill the array ``out`` with normals of one stream, of standard deviation ``std``."""
    flat = out.reshape(out.size)
    scale = flat.dtype.type(std)
    keys = np.empty(LANES, np.uint64)
    for lane in range(LANES):
        keys[lane] = key + np.uint64(lane) * _GOLDEN
    whole = flat.size - flat.size % (2 * LANES)
    for i in range(0, whole, 2 * LANES):
        _normal_vectors(keys, 0, np.uint64(i // 2) * _GOLDEN, scale, flat, i, i + LANES)
    if whole < flat.size:
        rest = np.empty(2 * LANES, flat.dtype)
        _normal_vectors(keys, 0, np.uint64(whole // 2) * _GOLDEN, scale, rest, 0, LANES)
        for i in range(whole, flat.size):
            flat[i] = rest[i - whole]


# Elementary functions of one number


@intrinsic
def _as_float(context, number):
    """Reinterpret the bits of an int32 as a float32."""

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(**OPTIONS)
def _exp32(x):
    """Exponential of a float32 by range reduction and a polynomial: 3e-7 relative, exp(0) = 1."""
    x = min(max(x, _EXP_LOW), _EXP_HIGH)
    n = (x * _LOG2E + _ROUND) - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _E0
    p = p * r + _E1
    p = p * r + _E2
    p = p * r + _E3
    p = p * r + _E4
    p = p * r + _E5
    p = p * r * r + r + _ONE
    return p * _as_float((np.int32(n) + _BIAS) << _EXPONENT)


@njit(**OPTIONS)
def _tanh32(x):
    return _ONE - _TWO / (_exp32(_TWO * x) + _ONE)


@njit(**OPTIONS)
def _erf32(x):
    """Error function (Abramowitz and Stegun 7.1.26), 5e-7 absolute."""
    size = abs(x)
    t = _ONE / (_ONE + _T0 * size)
    p = ((((_T5 * t + _T4) * t + _T3) * t + _T2) * t + _T1) * t
    y = _ONE - p * _exp32(-size * size)
    return y if x >= np.float32(0) else -y


def _exp(x):
    return math.exp(x)


def _tanh(x):
    return math.tanh(x)


def _erf(x):
    return math.erf(x)


def _by_precision(single: Any, double: Any) -> Any:
    """Return a typing rule: the polynomial in float32, the library's function in float64."""

    def in_single(x):
        return single(x)

    def in_double(x):
        return double(x)

    def choose(x):
        return in_single if x == types.float32 else in_double

    return choose


overload(_exp, jit_options={"fastmath": FAST})(_by_precision(_exp32, math.exp))
overload(_tanh, jit_options={"fastmath": FAST})(_by_precision(_tanh32, math.tanh))
overload(_erf, jit_options={"fastmath": FAST})(_by_precision(_erf32, math.erf))


# Register tiles: the inner loop of every matrix product


def _make_tile(rows: int, vectors: int, stages: int = 1) -> Any:
    """Return ``C[r, :] (+)= Σ_k A[r, k] B[k, :]`` for a few rows and vectors held in registers.

    Arguments of the result: ``a, start, row stride, k stride, b, start, row stride, c, start, row
    stride, depth, first, add``. With one stage per vector, vector ``v`` sums the terms
    ``k < first + v LANES`` only: a causal product skips what is zero.
    """

    @intrinsic
    def tile(context, a, a0, a_row, a_k, b, b0, b_row, c, c0, c_row, depth, first, add):
        n = types.intp
        signature = types.void(a, n, n, n, b, n, n, c, n, n, n, n, n)

        def generate(context, builder, signature, args):
            a, b, c = (
                context.make_array(signature.args[k])(context, builder, args[k]).data
                for k in (0, 4, 7)
            )
            (a0, a_row, a_k), (b0, b_row), (c0, c_row) = args[1:4], args[5:7], args[8:10]
            depth, first, add = args[10:]
            element = context.get_value_type(signature.args[0].dtype)
            size = signature.args[0].dtype.bitwidth // 8
            vector, word = ir.VectorType(element, LANES), ir.IntType(32)
            splat = ir.Constant(ir.VectorType(word, LANES), [0] * LANES)
            blank = ir.Constant(vector, ir.Undefined)
            multiply_add = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(vector, [vector] * 3),
                f"llvm.fma.v{LANES}f{8 * size}",
            )
            integer = a0.type

            def at(base, *terms):
                total = terms[0]
                for term in terms[1:]:
                    total = builder.add(total, term)
                return builder.gep(base, [total])

            def wide(base, *terms):
                return builder.bitcast(at(base, *terms), vector.as_pointer())

            a_rows = [at(a, a0, builder.mul(a_row, integer(r))) for r in range(rows)]
            places = [
                [wide(c, c0, builder.mul(c_row, integer(r)), integer(v * LANES))
                 for v in range(vectors)]
                for r in range(rows)
            ]  # fmt: skip
            before = builder.block
            with builder.if_then(builder.icmp_signed("!=", add, integer(0))):
                held = [[builder.load(p, align=size) for p in row] for row in places]
                loaded = builder.block
            sums = [[builder.phi(vector) for _ in row] for row in places]
            for r in range(rows):
                for v in range(vectors):
                    sums[r][v].add_incoming(ir.Constant(vector, None), before)
                    sums[r][v].add_incoming(held[r][v], loaded)
            start = integer(0)
            for stage in range(stages):
                stop = depth
                if stages > 1:
                    limit = builder.add(first, integer(stage * LANES))
                    stop = builder.select(builder.icmp_signed("<", limit, depth), limit, depth)
                entry = builder.block
                head, body, done = (builder.append_basic_block() for _ in range(3))
                builder.branch(head)
                builder.position_at_end(head)
                k = builder.phi(integer)
                k.add_incoming(start, entry)
                running = [
                    [builder.phi(vector) for _ in range(stage, vectors)] for _ in range(rows)
                ]
                for r in range(rows):
                    for v in range(stage, vectors):
                        running[r][v - stage].add_incoming(sums[r][v], entry)
                builder.cbranch(builder.icmp_signed("<", k, stop), body, done)
                builder.position_at_end(body)
                row = builder.mul(k, b_row)
                loads = [
                    builder.load(wide(b, b0, row, integer(v * LANES)), align=size)
                    for v in range(stage, vectors)
                ]
                column = builder.mul(k, a_k)
                for r in range(rows):
                    scalar = builder.load(builder.gep(a_rows[r], [column]))
                    factor = builder.insert_element(blank, scalar, word(0))
                    factor = builder.shuffle_vector(factor, blank, splat)
                    for old, load in zip(running[r], loads, strict=True):
                        old.add_incoming(builder.call(multiply_add, [factor, load, old]), body)
                k.add_incoming(builder.add(k, integer(1)), body)
                builder.branch(head)
                builder.position_at_end(done)
                for r in range(rows):
                    sums[r][stage:] = running[r]
                start = k
            for r in range(rows):
                for v in range(vectors):
                    builder.store(sums[r][v], places[r][v], align=size)
            return context.get_dummy_value()

        return signature, generate

    return tile


_tile_4x4, _tile_4x3, _tile_4x2, _tile_4x1 = (_make_tile(TILE, v) for v in (4, 3, 2, 1))
_tile_1x1 = _make_tile(1, 1)
_tile_causal = _make_tile(TILE, 4, stages=4)


@njit(**PART)
def _multiply_columns(a, a0, a_row, a_k, b, b0, b_row, c, c0, c_row, rows, vectors, depth, add):
    """``C (+)= A B`` on up to four vectors of columns, from given starts with given strides."""
    for r in range(0, rows - rows % TILE, TILE):
        x, z = a0 + r * a_row, c0 + r * c_row
        if TILE_VECTORS == 1:
            for v in range(vectors):
                y = v * LANES
                _tile_4x1(a, x, a_row, a_k, b, b0 + y, b_row, c, z + y, c_row, depth, depth, add)
        elif vectors == 4:
            _tile_4x4(a, x, a_row, a_k, b, b0, b_row, c, z, c_row, depth, depth, add)
        elif vectors == 3:
            _tile_4x3(a, x, a_row, a_k, b, b0, b_row, c, z, c_row, depth, depth, add)
        elif vectors == 2:
            _tile_4x2(a, x, a_row, a_k, b, b0, b_row, c, z, c_row, depth, depth, add)
        else:
            _tile_4x1(a, x, a_row, a_k, b, b0, b_row, c, z, c_row, depth, depth, add)
    for r in range(rows - rows % TILE, rows):
        x, z = a0 + r * a_row, c0 + r * c_row
        for v in range(vectors):
            y = v * LANES
            _tile_1x1(a, x, a_row, a_k, b, b0 + y, b_row, c, z + y, c_row, depth, depth, add)


@njit(**PART)
def _matrix(rows, columns, like):
    """Return an empty (rows, columns) array that starts on a cache line."""
    flat = np.empty(rows * columns + 64 // like.itemsize, like.dtype)
    start = (-flat.ctypes.data % 64) // like.itemsize
    return flat[start : start + rows * columns].reshape((rows, columns))


@njit(**OPTIONS)
def gemm(a, b, c, width, add):
    """``C = A B`` or ``C += A B`` on ``width`` columns: shapes (M, K), (K, N), (M, N)."""
    rows, inner = a.shape
    b_row, c_row = b.shape[1], c.shape[1]
    for column in range(0, width, WIDTH):
        vectors = min(WIDTH, width - column) // LANES
        for k in range(0, inner, DEPTH):
            _multiply_columns(
                a, k, inner, ONE, b, k * b_row + column, b_row, c, column, c_row,
                rows, vectors, min(DEPTH, inner - k), ONE if k > 0 else add,
            )  # fmt: skip


@njit(**OPTIONS)
def gram(x, y, out, width):
    """``G = Xᵀ Y``: shapes (d, ld), (d, ld), (T, ld)."""
    inner, ld = x.shape
    for column in range(0, width, WIDTH):
        vectors = min(WIDTH, width - column) // LANES
        for k in range(0, inner, DEPTH):
            _multiply_columns(
                x, k * ld, ONE, ld, y, k * ld + column, ld, out, column, ld,
                out.shape[0], vectors, min(DEPTH, inner - k), ONE if k > 0 else ZERO,
            )  # fmt: skip


# Rows of features: norms and rotations, in place or from one array to another


def _make_normaliser(centred: bool) -> Any:
    """Return ``out = N(x)`` for one vector of positions; sums are float64.

    Arguments of the result: ``x, at, row stride, rows, eps, out``.
    """

    @intrinsic
    def normalise_column(context, x, at, stride, count, eps, out):
        signature = types.void(x, _N, _N, _N, types.float64, out)

        def generate(context, builder, signature, args):
            x, at, stride, count, eps, out = args
            narrow = _Lanes(context, builder, signature.args[0].dtype)
            wide = _Lanes(context, builder, types.float64)

            def rows(visit: Any) -> None:
                with cgutils.for_range(builder, count) as loop:
                    row = builder.add(at, builder.mul(loop.index, stride))
                    visit(narrow.load(narrow.place(signature.args[0], x, row)), row)

            def widened(value: Any) -> Any:
                return builder.fpext(value, wide.type) if narrow.bits < wide.bits else value

            def narrowed(value: Any) -> Any:
                return builder.fptrunc(value, narrow.type) if narrow.bits < wide.bits else value

            n = wide.splat(builder.sitofp(count, ir.DoubleType()), wide.type)
            mean = narrow.number(0.0)
            if centred:
                total = wide.hold_number(0.0)
                rows(lambda value, row: total.add(widened(value)))
                mean = narrowed(builder.fdiv(total.get(), n))
            squares = wide.hold_number(0.0)

            def add_square(value: Any, row: Any) -> None:
                deviation = widened(builder.fsub(value, mean))
                squares.update(wide.call("fma", deviation, deviation, squares.get()))

            rows(add_square)
            square = builder.fadd(builder.fdiv(squares.get(), n), wide.splat(eps, wide.type))
            root = wide.call("sqrt", wide.call("maxnum", square, wide.number(TINY)))
            factor = narrowed(builder.fdiv(wide.number(1.0), root))

            def write(value: Any, row: Any) -> None:
                value = builder.fmul(builder.fsub(value, mean), factor)
                narrow.store(value, narrow.place(signature.args[5], out, row))

            rows(write)
            return context.get_dummy_value()

        return signature, generate

    return normalise_column


_rms_column, _layer_column = _make_normaliser(False), _make_normaliser(True)


@njit(**PART)
def normalise(x, out, width, kind, eps):
    """``out = N(x)`` for every position: shapes (d, ld)."""
    d, ld = x.shape
    for start in range(0, width, LANES):
        if kind == NORM_LAYER:
            _layer_column(x, start, ld, d, eps, out)
        else:
            _rms_column(x, start, ld, d, eps, out)


@njit(**PART)
def _copy(x, out):
    for f in range(x.shape[0]):
        for i in range(x.shape[1]):
            out[f, i] = x[f, i]


@njit(**PART)
def _add_scaled(x, y, factor, width):
    scale = x.dtype.type(factor)
    for f in range(x.shape[0]):
        for i in range(width):
            x[f, i] += scale * y[f, i]


@njit(**PART)
def _multiply(x, factor, width):
    for f in range(x.shape[0]):
        for i in range(width):
            x[f, i] *= factor[i]


@njit(**PART)
def _gain(x, gain, width):
    """Multiply every feature by its own factor; ``gain`` (d,) may be empty."""
    if gain.size > 0:
        for f in range(x.shape[0]):
            for i in range(width):
                x[f, i] *= gain[f]


@njit(**PART)
def _shift(x, bias, width):
    """Add a number of its own to every feature; ``bias`` (d,) may be empty."""
    if bias.size > 0:
        for f in range(x.shape[0]):
            for i in range(width):
                x[f, i] += bias[f]


@njit(**PART)
def _rotate(x, out, pairs, cos, sin, width):
    """Turn pairs of features: ``pairs`` (P, 2), ``cos`` and ``sin`` (P, width)."""
    for p in range(pairs.shape[0]):
        a, b = x[pairs[p, 0]], x[pairs[p, 1]]
        first, second = out[pairs[p, 0]], out[pairs[p, 1]]
        c, s = cos[p], sin[p]
        for i in range(width):
            one, other = a[i], b[i]
            first[i] = c[i] * one - s[i] * other
            second[i] = c[i] * other + s[i] * one


# One head


@njit(**PART)
def _scores(q, k, low, high, i0, vectors, rows, out, row):
    """Write ``k_jᵀ q_i`` of keys ``low..high`` to the rows of ``out`` from ``row`` on.

    ``low`` is a multiple of `TILE`; vectors of queries that no key of a tile meets are skipped.
    """
    size, ld = q.shape
    stride, rows_of_tile = out.shape[1], np.int64(TILE)
    for j in range(low, high, TILE):
        first, last = rows.from_query[j], rows.to_query[j]
        for other in range(j + 1, min(j + TILE, high)):
            first, last = min(first, rows.from_query[other]), max(last, rows.to_query[other])
        begin = max(first - i0, 0) // LANES
        end = min((last - i0 + LANES - 1) // LANES, vectors)
        if end > begin:
            column = begin * LANES
            _multiply_columns(
                k, j, ONE, ld, q, i0 + column, ld, out, (row + j - low) * stride + column, stride,
                rows_of_tile, end - begin, size, ZERO,
            )  # fmt: skip


@njit(**PART)
def _average(p, row, v, low, depth, needed, out, i0, vectors, add):
    """``out_i (+)= Σ_j v_j p_ji`` over ``depth`` keys from ``low``.

    The vector of queries ``c`` has weight on the first ``needed + c LANES`` of them only.
    """
    ld, size, stride = v.shape[1], v.shape[0], p.shape[1]
    b0 = row * stride
    whole = size - size % TILE if vectors == TILE_VECTORS == 4 else 0
    for f in range(0, whole, TILE):
        _tile_causal(
            v, f * ld + low, ld, 1, p, b0, stride, out, f * ld + i0, ld, depth, needed, add
        )
    for c in range(vectors if whole < size else 0):
        y = c * LANES
        _multiply_columns(
            v, whole * ld + low, ld, ONE, p, b0 + y, stride, out, whole * ld + i0 + y, ld,
            size - whole, ONE, min(depth, needed + y), add,
        )  # fmt: skip


def _per_column(write: Any) -> Any:
    """Return the code of an intrinsic that goes down one vector of queries, key after key.

    Its first arguments are ``s, at, count, j, i``: scores, where the vector's first one is, how
    many keys, the first of them, and the first query.
    """

    def generate(context, builder, signature, args):
        lanes = _Lanes(context, builder, signature.args[0].dtype)
        s, at, count, j, i, *others = args
        kinds = signature.args[5:]

        def rows(visit: Any) -> None:
            """Call ``visit(key, place of its scores, key's number)`` in a loop over keys."""
            with cgutils.for_range(builder, count) as loop:
                row = builder.mul(loop.index, loop.index.type(WIDTH))
                place = lanes.place(signature.args[0], s, builder.add(at, row))
                visit(builder.add(j, loop.index), place)

        write(lanes, rows, i, kinds, others)
        return context.get_dummy_value()

    return generate


def _write_top(lanes: _Lanes, rows: Any, i: Any, kinds: Any, args: Any) -> None:
    seen_from, seen_to, top, total, lane = args
    largest, added = (lanes.hold(lanes.place(kinds[k], x, lane)) for k, x in ((2, top), (3, total)))

    def visit(key: Any, place: Any) -> None:
        first, last = lanes.entry(kinds[0], seen_from, key), lanes.entry(kinds[1], seen_to, key)
        seen, s = lanes.within(i, first, last), lanes.load(place)
        old = largest.get()
        largest.update(lanes.builder.select(seen, lanes.call("maxnum", s, old), old))
        added.add(lanes.builder.select(seen, s, lanes.number(0.0)))

    rows(visit)
    largest.write()
    added.write()


def _write_weights(lanes: _Lanes, rows: Any, i: Any, kinds: Any, args: Any) -> None:
    seen_from, seen_to, top, z, lane = args
    largest = lanes.load(lanes.place(kinds[2], top, lane))
    total = lanes.hold(lanes.place(kinds[3], z, lane))

    def visit(key: Any, place: Any) -> None:
        seen = lanes.within(
            i, lanes.entry(kinds[0], seen_from, key), lanes.entry(kinds[1], seen_to, key)
        )
        p = lanes.exp(lanes.builder.fsub(lanes.load(place), largest))
        p = lanes.builder.select(seen, p, lanes.number(0.0))
        total.add(p)
        lanes.store(p, place)

    rows(visit)
    total.write()


def _write_band(lanes: _Lanes, rows: Any, i: Any, kinds: Any, args: Any) -> None:
    total, ld, by_offset, context, stride, widest, by_query, squares, lane = args
    b = lanes.builder
    in_row = lanes.hold(lanes.place(kinds[6], by_query, lane))
    square = lanes.hold(lanes.place(kinds[7], squares, lane))

    def visit(key: Any, place: Any) -> None:
        one = key.type(1)
        after = b.add(key, one)
        beyond = b.add(after, widest)
        beyond = b.select(b.icmp_signed("<", beyond, context), beyond, context)
        counted = lanes.within(i, after, beyond)
        x = b.select(counted, lanes.load(place), lanes.number(0.0))
        copy = b.mul(b.and_(key, key.type(TILE - 1)), stride)
        offset = b.add(b.add(context, copy), b.sub(i, key))
        for kind, array, at in (
            (kinds[0], total, b.add(b.mul(key, ld), i)), (kinds[2], by_offset, offset)
        ):  # fmt: skip
            target = lanes.place(kind, array, at)
            lanes.store(b.fadd(lanes.load(target), x), target)
        in_row.add(x)
        square.update(lanes.call("fma", x, x, square.get()))

    rows(visit)
    in_row.write()
    square.write()


@intrinsic
def _raise_column(context, s, at, count, j, i, seen_from, seen_to, top, total, lane):
    """``top_i = max(top_i, s_ji)`` and ``total_i += s_ji`` over the keys that a query sees."""
    signature = types.void(s, _N, _N, _N, _N, seen_from, seen_to, top, total, _N)
    return signature, _per_column(_write_top)


@intrinsic
def _weigh_column(context, s, at, count, j, i, seen_from, seen_to, top, z, lane):
    """``s_ji = exp(s_ji - top_i)`` where query ``i`` sees key ``j``, else 0; ``z_i += s_ji``."""
    signature = types.void(s, _N, _N, _N, _N, seen_from, seen_to, top, z, _N)
    return signature, _per_column(_write_weights)


@intrinsic
def _gather_column(
    context,
    s,
    at,
    count,
    j,
    i,
    total,
    ld,
    by_offset,
    length,
    stride,
    widest,
    by_query,
    squares,
    lane,
):
    """Add the scores of the band ``1 ≤ i - j ≤ widest`` to their sums.

    Rows a few keys apart add to copies of ``by_offset``: the next row's would wait for this one's.
    """
    signature = types.void(
        s, _N, _N, _N, _N, total, _N, by_offset, _N, _N, _N, by_query, squares, _N
    )
    return signature, _per_column(_write_band)


@njit(**PART)
def _weigh_sigmoid(s, row, count, j, i0, lane, rows):
    """``s_ji = sigmoid(s_ji + bias_i)`` where query ``i`` sees key ``j``, else 0."""
    zero, one = s.dtype.type(0), s.dtype.type(1)
    for r in range(count):
        low, high = rows.seen_from[j + r] - i0, rows.seen_to[j + r] - i0
        for i in range(lane, lane + LANES):
            p = one / (one + _exp(-(s[row + r, i] + rows.bias[i0 + i])))
            s[row + r, i] = p if (i >= low) & (i < high) else zero


@njit(**PART)
def _cap(s, cap, factor):
    """``s = cap tanh(s / cap) factor``."""
    for i in range(s.size):
        s[i] = cap * _tanh(s[i] / cap) * factor[i]


@njit(**PART)
def _keep(s, row, count, factor, kept, j, i0, first, last):
    """Write ``factor_i s_ji`` of a block of queries from ``i0`` on, and of keys from ``j`` on.

    Those of queries that are not between a key's first and last are 0.
    """
    for r in range(count):
        for i in range(min(s.shape[1], kept.shape[1] - i0)):
            known = first[j + r] <= i0 + i and i0 + i < last[j + r]
            kept[j + r, i0 + i] = factor[i] * s[row + r, i] if known else 0


@njit(**PART)
def _attend(q, turned, k, v, out, layer, rows, logit, band, total, kept, room):
    """Attention of one head on one content: writes ``out`` and what ``room`` gathers of it.

    Parameters
    ----------
    q, turned, k, v, out
        (d_h, ld) or (d_v, ld). Queries carry the factor on the scores; ``turned`` are rotated by
        ``T`` more, for the keys behind a ring's end.
    layer, rows
        The layer's scalars, and what it knows of every position.
    logit
        Logit of the key that writes nothing.
    band, total
        Whether this content counts in the leak, and the sum of its scores over contents (T, ld).
    kept
        Where scores and weights are written (2, key, query), or (2, 0, 0).

    Returns
    -------
    float
        Sum of the squared scores over the band.
    """
    context = layer.context
    s, behind, ld = room.scores, room.behind, total.shape[1]
    top, z, by_query, squares = room.top, room.z, room.by_query_part, room.squares
    seen = room.seen
    cap, null = s.dtype.type(layer.softcap), s.dtype.type(logit)
    square = 0.0
    for block in range((context + WIDTH - 1) // WIDTH):
        i0 = block * WIDTH
        count = min(WIDTH, context - i0)
        vectors = (count + LANES - 1) // LANES
        low, high, sinks = rows.low[block], rows.high[block], rows.sinks[block]
        n_rows = sinks + high - low
        for i in range(WIDTH):
            top[i] = LOWEST
            z[i] = seen[i] = by_query[i] = squares[i] = 0
        if sinks > 0:
            _scores(q, k, ZERO, sinks, i0, vectors, rows, s, ZERO)
        _scores(q, k, low, high, i0, vectors, rows, s, sinks)
        if layer.ring:
            _scores(turned, k, low, high, i0, vectors, rows, behind, sinks)
            for r in range(n_rows):
                for i in range(min(max(low + r - i0, 0), vectors * LANES)):
                    s[r, i] = behind[r, i]
        if cap > 0:
            for r in range(n_rows):
                _cap(s[r, : vectors * LANES], cap, rows.factor[i0 : i0 + vectors * LANES])
        if kept.shape[1] > 0:
            for i in range(WIDTH):
                squares[i] = 1
            _keep(s, ZERO, sinks, squares, kept[0], ZERO, i0, rows.from_query, rows.to_query)
            _keep(s, sinks, high - low, squares, kept[0], low, i0, rows.from_query, rows.to_query)
            for i in range(WIDTH):
                squares[i] = 0
        for column in range(vectors):
            lane = column * LANES
            i = i0 + lane
            needed = min(high, i + LANES) - low if layer.causal else high - low
            for r, j, n in ((ZERO, ZERO, sinks), (sinks, low, needed)):
                at = r * WIDTH + lane
                _raise_column(s, at, n, j, i, rows.seen_from, rows.seen_to, top, seen, lane)
                if band:
                    _gather_column(
                        s, at, n, j, i, total, ld, room.by_offset, context,
                        room.by_offset.shape[1], layer.widest, by_query, squares, lane,
                    )  # fmt: skip
            for query in range(lane, min(lane + LANES, count)):
                first = rows.seen_from[0] <= i0 + query and i0 + query < rows.seen_to[0]
                room.first_score[i0 + query] = s[0, query] if first else 0
                room.score[i0 + query] = seen[query]
            if layer.has_null:
                for i in range(lane, lane + LANES):
                    top[i] = max(top[i], null)
                    z[i] = _exp(null - top[i])
            for r, j, n in ((ZERO, ZERO, sinks), (sinks, low, needed)):
                at = r * WIDTH + lane
                if layer.softmax == SOFTMAX:
                    _weigh_column(
                        s, at, n, j, i0 + lane, rows.seen_from, rows.seen_to, top, z, lane
                    )
                else:
                    _weigh_sigmoid(s, r, n, j, i0, lane, rows)
        if layer.softmax == SIGMOID:
            for i in range(WIDTH):
                z[i] = 1
        if sinks > 0:
            _average(s, ZERO, v, ZERO, sinks, sinks, out, i0, vectors, ZERO)
        needed = i0 - low + LANES if layer.causal else high - low
        n = high - low
        _average(s, sinks, v, low, n, needed, out, i0, vectors, min(sinks, ONE))
        reads_first = low == 0 or sinks > 0
        for i in range(count):
            room.first[i0 + i] = float(s[0, i]) / float(z[i]) if reads_first else 0.0
            room.log_z[i0 + i] = float(top[i]) + math.log(float(z[i]))
            room.by_query[i0 + i] = by_query[i]
            square += squares[i]
        if layer.softmax == SIGMOID:
            for i in range(count):
                room.log_z[i0 + i] = -float(rows.bias[i0 + i])
        for i in range(WIDTH):
            z[i] = 1 / z[i] if z[i] > 0 else 0
        if kept.shape[1] > 0:
            _keep(s, ZERO, sinks, z, kept[1], ZERO, i0, rows.seen_from, rows.seen_to)
            _keep(s, sinks, high - low, z, kept[1], low, i0, rows.seen_from, rows.seen_to)
        for f in range(out.shape[0]):
            for i in range(vectors * LANES):
                out[f, i0 + i] *= z[i]
    return square


# The attention of a block


@njit(**OPTIONS)
def draw_attention_weights(sizes, block, number, draw, group, weights):
    """Fill the matrices of one key-value head and its query heads, each (outputs, inputs)."""
    seed, rho = sizes.seed, block.alignment
    wq, wk, wv, wo = weights
    fill_normal(stream(seed, draw, STREAM_KEY, number, group), block.k_std, wk)
    fill_normal(stream(seed, draw, STREAM_QUERY, number, group), block.q_std, wq)
    fill_normal(stream(seed, draw, STREAM_VALUE, number, group), block.v_std, wv)
    fill_normal(stream(seed, draw, STREAM_OUTPUT, number, group), block.o_std, wo)
    if rho != 0.0:
        own = math.sqrt(max(1 - rho * rho, 0.0))
        shared = rho * block.q_std / block.k_std
        for f in range(wq.shape[0]):
            for i in range(wq.shape[1]):
                wq[f, i] = shared * wk[f % wk.shape[0], i] + own * wq[f, i]


@njit(**OPTIONS)
def draw_latent_weights(sizes, block, layer, number, draw, weights):
    """Fill the rows of query latents, key-value latents and rotary key, (outputs, inputs)."""
    seed, std = sizes.seed, 1 / math.sqrt(sizes.d)
    end = layer.q_rank + layer.kv_rank
    fill_normal(stream(seed, draw, STREAM_LATENT, number, ZERO), std, weights[:end])
    fill_normal(stream(seed, draw, STREAM_LATENT, number, ONE), block.k_std, weights[end:])


@njit(**OPTIONS)
def draw_null_logits(sizes, layer, number, draw, logits):
    """Fill the logit of every head's null key (heads,)."""
    fill_normal(stream(sizes.seed, draw, STREAM_SINK, number, ZERO), layer.null_std, logits)
    for head in range(logits.size):
        logits[head] += layer.null_logit


@njit(**OPTIONS)
def latents(layer, u, weights, found, width):
    """Write what latent attention reads, for every content: latents and the rotary key."""
    q_rank, end = layer.q_rank, layer.q_rank + layer.kv_rank
    for content in range(u.shape[0]):
        gemm(weights, u[content], found[content], width, ZERO)
        if q_rank > 0:
            normalise(found[content, :q_rank], found[content, :q_rank], width, NORM_RMS, 0.0)
        normalise(found[content, q_rank:end], found[content, q_rank:end], width, NORM_RMS, 0.0)


@njit(**OPTIONS)
def add_projection_squares(u, weights, vectors, q, k, squares, width):
    """Add a group's squared queries and keys to ``squares`` (2, contents, width)."""
    parts = ((weights[0], vectors.query, q), (weights[1], vectors.key, k))
    for content in range(u.shape[0]):
        for kind, (matrix, bias, out) in enumerate(parts):
            gemm(matrix, u[content], out, width, ZERO)
            _shift(out, bias, width)
            for f in range(out.shape[0]):
                for i in range(width):
                    squares[kind, content, i] += float(out[f, i]) * out[f, i]


@njit(**PART)
def _project(u, source, layer, weights, vectors, q, k, v, width):
    """Write the queries of a group, its keys and its values for one content."""
    wq, wk, wv, _ = weights
    begin = layer.q_rank
    end = begin + layer.kv_rank
    queries, keys = u, u
    if layer.kv_rank > 0:
        queries, keys = source[:begin] if begin > 0 else u, source[begin:end]
        _copy(source[end:], k[layer.d_nope :])
    gemm(wq, queries, q, width, ZERO)
    gemm(wk, keys, k[: layer.d_nope], width, ZERO)
    gemm(wv, keys, v, width, ZERO)
    _shift(q, vectors.query, width)
    _shift(k[: layer.d_nope], vectors.key, width)
    _shift(v, vectors.value, width)


@njit(**PART)
def _turn(x, size, layer, rows, inverse, gain, width):
    """Normalise every head where the layer does, and rotate it."""
    if layer.qk_norm == QK_PROJECTION:
        _multiply(x, inverse, width)
        _gain(x, gain, width)
    for start in range(0, x.shape[0], size):
        head = x[start : start + size]
        if layer.qk_norm == QK_HEAD:
            normalise(head, head, width, NORM_RMS, layer.qk_eps)
            _gain(head, gain, width)
        _rotate(head, head, rows.pairs, rows.cos, rows.sin, width)
        if layer.qk_norm == QK_L2:
            normalise(head, head, width, NORM_RMS, layer.qk_eps)


@njit(**OPTIONS)
def point_at_sink(sizes, layer, rows, group, u, wk, gain, inverse, k, out):
    """Write the bias of a group's queries: along the key of the BOS that it is made from.

    Parameters as of `attend_group`; ``wk`` and ``gain`` are the keys', ``k`` is memory to work in,
    and the bias is ``out`` (size, ld).
    """
    size, few = out.shape[0], np.int64(LANES)
    if sizes.parameter_free:
        _copy(u[sizes.reference, group * size : (group + 1) * size], k)
    else:
        gemm(wk, u[sizes.reference], k, few, ZERO)
    _turn(k, size, layer, rows, inverse[1, sizes.reference], gain, few)
    square = 0.0
    for f in range(size):
        if rows.sink[f] != 0:
            square += float(k[f, 0]) ** 2
    for f in range(size):
        bias = float(rows.sink[f]) * k[f, 0] / max(square, TINY)
        for i in range(sizes.width):
            out[f, i] = bias
    _rotate(out, out, rows.pairs, rows.cos, rows.sin, sizes.width)


@njit(**PART)
def _add_to_heads(x, bias, width):
    """Add a bias (size, ld) to every head of ``x`` (heads · size, ld)."""
    for f in range(x.shape[0]):
        row, added = x[f], bias[f % bias.shape[0]]
        for i in range(width):
            row[i] += added[i]


@njit(**PART)
def _band_products(log_z, by_query, by_offset, square, context, widest, out, sign):
    """Add centred sums over the band: of ``ln Z`` squared, scores squared, and their product.

    Parameters
    ----------
    log_z
        ``ln Z_i`` (T,).
    by_query, by_offset, square
        Scores summed over the band's keys (T,), over the band's queries at each offset (T,), and
        their squares over all of it.
    out, sign
        Where to add the three, times what.
    """
    level = log_z[context - 1]
    tail = tail_square = 0.0
    mask, residual, cross = 0.0, square, 0.0
    for i in range(context - 1, 0, -1):
        y = log_z[i] - level
        tail += y
        tail_square += y * y
        cross += y * by_query[i]
        if i <= widest:
            n = context - i
            mask += tail_square - tail * tail / n
            residual -= by_offset[i] * by_offset[i] / n
            cross -= by_offset[i] * tail / n
    out[0] += sign * mask
    out[1] += sign * residual
    out[2] += sign * cross


@njit(**PART)
def _band_square(total, context, widest):
    """Return the sum of squares over the band of an array (key, query)."""
    square = 0.0
    for j in range(context):
        for i in range(j + 1, min(j + widest + 1, context)):
            square += float(total[j, i]) * total[j, i]
    return square


@intrinsic
def _dot(context, a, a0, b, b0, vectors):
    """Return ``Σ a b`` over so many vectors from given starts."""
    signature = types.float64(a, _N, b, _N, _N)

    def generate(context, builder, signature, args):
        a, a0, b, b0, vectors = args
        lanes = _Lanes(context, builder, signature.args[0].dtype)
        sums = [lanes.hold_number(0.0) for _ in range(TILE)]

        def add(total: "_Held", vector: Any) -> None:
            step = builder.mul(vector, vector.type(LANES))
            x, y = (
                lanes.load(lanes.place(kind, array, builder.add(start, step)))
                for kind, array, start in ((signature.args[0], a, a0), (signature.args[2], b, b0))
            )
            total.update(lanes.call("fma", x, y, total.get()))

        rounds = builder.sdiv(vectors, vectors.type(TILE))
        with cgutils.for_range(builder, rounds) as loop:
            first = builder.mul(loop.index, vectors.type(TILE))
            for k, total in enumerate(sums):
                add(total, builder.add(first, vectors.type(k)))
        done = builder.mul(rounds, vectors.type(TILE))
        with cgutils.for_range(builder, builder.sub(vectors, done)) as loop:
            add(sums[0], builder.add(done, loop.index))
        for total in sums[1:]:
            sums[0].add(total.get())
        return lanes.total(sums[0].get())

    return signature, generate


@njit(**OPTIONS)
def expected_residual(u, pairs, factor, context, widest, width, product):
    """Return the residual leak that a head of given inputs has on average, without ``σ²`` (nats²).

    With independent Gaussian ``W_Q`` and ``W_K``, the scores ``s_ij`` and ``s_i'j'`` of two
    contents at the same offset have the covariance ``σ² D_ii' D_jj'``, where ``D`` is the product
    of the two contents' inputs over ``d``.

    Parameters
    ----------
    u, pairs
        Inputs (contents, d, ld), of which contents 0 and 1, 2 and 3, … are such a pair.
    factor
        On the scores of a query (ld,).
    context, widest, width
        Tokens, largest offset of the band, and columns that are computed.
    product
        Memory to work in (T, ld).

    Returns
    -------
    float
        Sum over the band, less the mean at every offset; mean over pairs.
    """
    d, ld = u.shape[1:]
    own, at_offset = 0.0, np.zeros(widest + 1)
    flat, row = product.reshape(product.size), np.zeros(ld + LANES, product.dtype)
    for pair in range(pairs):
        gram(u[2 * pair], u[2 * pair + 1], product, width)
        for i in range(context):
            scale = factor[i] / product.dtype.type(d * d)
            for other in range(context):
                row[other] = product[i, other] * factor[other] * scale
            for offset in range(1, min(i, widest) + 1):
                before = (i - offset) * ld
                own += float(row[i]) * float(flat[before + i - offset])
                vectors = (context - offset + LANES - 1) // LANES
                at_offset[offset] += _dot(row, offset, flat, before, vectors)
    for offset in range(1, widest + 1):
        own -= at_offset[offset] / (context - offset)
    return own / pairs


@njit(**OPTIONS)
def attend_group(
    sizes, layer, rows, group, u, source, weights, vectors, logits, inverse, room, y, out
):
    """Add what one key-value head and its query heads write, for every content.

    Parameters
    ----------
    sizes, layer, rows
        Scalars of the stack and the layer, and what the layer knows of every position.
    u, source, y
        Inputs, what latent attention reads, and outputs: (contents, features, ld).
    weights, vectors, logits, inverse
        The group's matrices, its `Vectors`, its null logits, and the inverse RMS of whole
        projections.
    room
        Memory to work in: `Room`. Its ``total`` and ``sums`` are 0, and its ``sink`` holds the bias
        of queries, if the layer has one.
    out
        ``log_z``, ``sink``, ``score`` (of all visible keys) and ``first_score`` (of token 0), each
        (heads, T), to add sums over contents to, and ``leak`` (heads, 3), over pairs of different
        contents.
    """
    context, width, size, d_value = sizes.context, sizes.width, layer.size, layer.d_value
    heads = room.total.shape[0]
    q, k, v, mixed = room.q, room.k, room.v, room.mixed
    for content in range(u.shape[0]):
        counted = content < sizes.contents
        band = counted and layer.widest > 0
        if sizes.parameter_free:
            for x in (q, k, v):
                _copy(u[content, group * size : (group + 1) * size], x)
        else:
            _project(u[content], source[content], layer, weights, vectors, q, k, v, width)
        _turn(q, size, layer, rows, inverse[0, content], vectors.query_gain, width)
        if layer.sink_bias != 0.0:
            _add_to_heads(q, room.sink, width)
        _multiply(q, rows.q_factor, width)
        _turn(k, size, layer, rows, inverse[1, content], vectors.key_gain, width)
        if layer.ring:
            _copy(q, room.turned)
            for start in range(0, q.shape[0], size):
                part = room.turned[start : start + size]
                _rotate(part, part, rows.pairs, rows.turn_cos, rows.turn_sin, width)
        for head in range(heads):
            for part in range(TILE):
                for i in range(room.by_offset.shape[1]):
                    room.by_offset[part, i] = 0
            first, last = head * size, (head + 1) * size
            kept = room.kept[:, content % sizes.contents, group * heads + head]
            if not counted:
                kept = kept[:, :0]
            square = _attend(
                q[first:last], room.turned[first:last], k, v,
                mixed[head * d_value : (head + 1) * d_value],
                layer, rows, logits[head], band, room.total[head], kept, room,
            )  # fmt: skip
            if counted:
                by_offset = room.by_offset_all
                for i in range(context):
                    by_offset[i] = 0
                    for part in range(TILE):
                        by_offset[i] += room.by_offset[part, context + i]
                    out.log_z[head, i] += room.log_z[i]
                    out.sink[head, i] += room.first[i]
                    out.score[head, i] += room.score[i]
                    out.first_score[head, i] += room.first_score[i]
                    room.sums[head, 0, i] += room.log_z[i]
                    room.sums[head, 1, i] += room.by_query[i]
                    room.sums[head, 2, i] += by_offset[i]
                if band:
                    _band_products(
                        room.log_z, room.by_query, by_offset, square, context, layer.widest,
                        out.leak[head], -1.0,
                    )  # fmt: skip
        if sizes.parameter_free:
            _copy(mixed, y[content, group * size : (group + 1) * size])
        else:
            gemm(weights[3], mixed, y[content], width, min(group, ONE))
    if layer.widest > 0:
        for head in range(heads):
            square = _band_square(room.total[head], context, layer.widest)
            sums = room.sums[head]
            _band_products(
                sums[0], sums[1], sums[2], square, context, layer.widest, out.leak[head], 1.0
            )


# The MLP of a block


@njit(**PART)
def _activate(x, kind, scale, width):
    """Apply an activation in place: ``scale`` multiplies the argument of its sigmoid."""
    one, half, k = x.dtype.type(1), x.dtype.type(0.5), x.dtype.type(scale)
    if kind == QUICK_GELU:
        k = x.dtype.type(1.702 * scale)
    root_half = x.dtype.type(math.sqrt(0.5) * scale)
    inner = x.dtype.type(math.sqrt(2 / math.pi) * scale)
    cubic = x.dtype.type(0.044715)
    for f in range(x.shape[0]):
        row = x[f]
        if kind in (SILU, QUICK_GELU):
            for i in range(width):
                row[i] = row[i] / (one + _exp(-k * row[i]))
        elif kind == GELU:
            for i in range(width):
                row[i] = half * row[i] * (one + _erf(root_half * row[i]))
        elif kind == GELU_TANH:
            for i in range(width):
                t = row[i]
                row[i] = half * t * (one + _tanh(inner * (t + cubic * t * t * t)))
        elif kind == RELU:
            for i in range(width):
                row[i] = max(row[i], x.dtype.type(0))
        elif kind == RELU2:
            for i in range(width):
                t = max(row[i], x.dtype.type(0))
                row[i] = t * t
        elif kind == TANH:
            for i in range(width):
                row[i] = _tanh(k * row[i])


@njit(**OPTIONS)
def draw_mlp_weights(sizes, block, number, draw, expert, chunk, up, gate, down):
    """Fill some hidden features' rows of ``up`` and ``gate`` and columns of ``down``."""
    seed, part = sizes.seed, expert * 65536 + chunk
    fill_normal(stream(seed, draw, STREAM_UP, number, part), block.up_std, up)
    if block.mlp == MLP_GATED:
        fill_normal(stream(seed, draw, STREAM_GATE, number, part), block.up_std, gate)
    fill_normal(stream(seed, draw, STREAM_DOWN, number, part), block.down_std, down)


@njit(**PART)
def _clamp(x, low, high, width):
    for f in range(x.shape[0]):
        for i in range(width):
            x[f, i] = min(max(x[f, i], low), high)


@njit(**OPTIONS)
def feed_forward(block, weights, biases, u, y, h, g, width, add):
    """``y (+)= W_down φ(…)`` of some hidden features, for every content: (contents, d, ld).

    Parameters
    ----------
    weights, biases
        ``up``, ``gate`` and ``down`` of these features; biases of the first two, which may be
        empty.
    h, g
        Memory for the features and their gates (features, ld).
    """
    up, gate, down = weights
    up_bias, gate_bias = biases
    gated, limit = block.mlp == MLP_GATED, u.dtype.type(block.limit)
    offset = u.dtype.type(block.offset)
    for content in range(u.shape[0]):
        gemm(up, u[content], h, width, ZERO)
        _shift(h, up_bias, width)
        if gated:
            gemm(gate, u[content], g, width, ZERO)
            _shift(g, gate_bias, width)
            if limit > 0:
                _clamp(g, u.dtype.type(-np.inf), limit, width)
                _clamp(h, -limit, limit, width)
            _activate(g, block.activation, block.activation_scale, width)
            for f in range(h.shape[0]):
                for i in range(width):
                    h[f, i] = g[f, i] * (h[f, i] + offset)
        else:
            _activate(h, block.activation, block.activation_scale, width)
        gemm(down, h, y[content], width, add)


@njit(**OPTIONS)
def router_weights(sizes, block, number, draw, weights):
    """Fill the router's matrix (experts, d)."""
    fill_normal(stream(sizes.seed, draw, STREAM_ROUTER, number, ZERO), block.up_std, weights)


@njit(**PART)
def _route(logits, i, block, chosen, share):
    """Choose the experts of token ``i`` and what their outputs are multiplied by."""
    for slot in range(block.active):
        best = -1
        for expert in range(block.experts):
            taken = False
            for earlier in range(slot):
                taken = taken or chosen[earlier] == expert
            if not taken and (best < 0 or logits[expert, i] > logits[best, i]):
                best = expert
        chosen[slot] = best
    top = float(logits[chosen[0], i])
    total = 0.0
    for slot in range(block.active):
        logit = float(logits[chosen[slot], i])
        if block.router in (ROUTER_SOFTMAX, ROUTER_ALL):
            share[slot] = math.exp(logit - top)
        else:
            share[slot] = 1 / (1 + math.exp(-logit))
        total += share[slot]
    if block.router == ROUTER_ALL:
        total = 0.0
        for expert in range(block.experts):
            total += math.exp(float(logits[expert, i]) - top)
    if block.router == ROUTER_INPUT:
        total = 1.0
    for slot in range(block.active):
        share[slot] *= block.router_scale / total


@njit(**OPTIONS)
def route(sizes, block, router, bias, u, logits, chosen, share):
    """Choose the experts of every token, and what their outputs are multiplied by.

    Parameters
    ----------
    router, bias
        (experts, d), and (experts,), which may be empty.
    logits
        Memory for a content's logits (experts, ld).
    chosen, share
        Experts and factors (contents, T, active).
    """
    for content in range(u.shape[0]):
        gemm(router, u[content], logits, sizes.width, ZERO)
        _shift(logits, bias, sizes.width)
        for i in range(sizes.context):
            _route(logits, i, block, chosen[content, i], share[content, i])


@njit(**OPTIONS)
def gather_tokens(block, chosen, share, expert, u, tokens):
    """Copy the inputs of an expert's tokens next to each other (1, d, ld)."""
    at = 0
    for content, i, slot in np.ndindex(chosen.shape):
        if chosen[content, i, slot] == expert:
            scale = share[content, i, slot] if block.router == ROUTER_INPUT else 1.0
            for f in range(u.shape[1]):
                tokens[0, f, at] = u[content, f, i] * scale
            at += 1


@njit(**OPTIONS)
def scatter_tokens(block, chosen, share, expert, written, y):
    """Add an expert's outputs (1, d, ld) to those of its tokens."""
    at = 0
    for content, i, slot in np.ndindex(chosen.shape):
        if chosen[content, i, slot] == expert:
            scale = 1.0 if block.router == ROUTER_INPUT else share[content, i, slot]
            for f in range(y.shape[1]):
                y[content, f, i] += scale * written[0, f, at]
            at += 1


# The stack


@njit(**PART)
def _token_keys(sizes, draw, content, keys):
    """Write the streams of a content's tokens: their own, or those of the words they are."""
    own = _branch(_mix(np.uint64(sizes.seed) + _GOLDEN), draw)
    words, choices = _branch(own, STREAM_WORD), _branch(_branch(own, STREAM_CHOICE), content)
    own = _branch(_branch(own, STREAM_TOKEN), content)
    for i in range(keys.size):
        keys[i] = _branch(own, i)
    if sizes.vocab > 0:
        for i in range(keys.size):
            word = _branch(choices, i) % np.uint64(sizes.vocab)
            keys[i] = _branch(_branch(words, word), ZERO)


@njit(**PART)
def _embed_content(sizes, draw, content, bos, x):
    """Fill the embeddings of one content (d, ld), with a kind of token at position 0."""
    width, alpha = sizes.width, sizes.alpha
    keys = np.zeros(width, np.uint64)
    _token_keys(sizes, draw, content, keys)
    if bos != BOS_ORDINARY:
        keys[0] = stream(sizes.seed, draw, STREAM_BOS, ZERO, ZERO)
    scale = x.dtype.type(math.sqrt(sizes.v0 * (1 - alpha)))
    flat, ld = x.reshape(x.size), x.shape[1]
    for f in range(0, sizes.d, 2):
        other = min(f + 1, sizes.d - 1) * ld
        for i in range(0, width, LANES):
            _normal_vectors(keys, i, np.uint64(f) * _GOLDEN, scale, flat, other + i, f * ld + i)
    if bos in (BOS_ZERO, BOS_MEAN):
        for f in range(sizes.d):
            x[f, 0] = 0
    for f in range(sizes.d):
        for i in range(sizes.context, x.shape[1]):
            x[f, i] = 0


@njit(**OPTIONS)
def embed(sizes, draw, x):
    """Fill the embeddings (contents, d, ld).

    Contents beyond the counted ones hold no BOS, but for the one that heads' biases are made from.
    """
    for content in range(x.shape[0]):
        bos = sizes.bos if content < sizes.contents else BOS_ORDINARY
        if content == sizes.contents * sizes.sets:
            bos = BOS_CONSTANT
        _embed_content(sizes, draw, content % sizes.contents, bos, x[content])


@njit(**OPTIONS)
def embed_shared(sizes, draw, x):
    """Add to all tokens of every content (contents, d, ld) what they share."""
    shared = np.empty(sizes.d)
    key = stream(sizes.seed, draw, STREAM_SHARED, ZERO, ZERO)
    fill_normal(key, math.sqrt(sizes.v0 * sizes.alpha), shared)
    for content in range(x.shape[0]):
        start = 1 if content < sizes.contents and sizes.bos == BOS_ZERO else 0
        for f in range(sizes.d):
            for i in range(start, sizes.context):
                x[content, f, i] += shared[f]


@njit(**OPTIONS)
def record_diagonals(sizes, x, y, out):
    """Write what two streams (contents, d, ld) have in common at every position, (4, T).

    That is ``x_i·y_i`` of one content, of two, of two without BOS, and ``(x_0·y_i + y_0·x_i)/2`` of
    one, all over ``d``: ``K_ii``, ``Q_ii``, ``Q∅_ii`` and ``K_0i`` where ``y = x``.
    """
    context, counted, d = sizes.context, sizes.contents, sizes.d
    own, pairs = 1 / (d * counted), 1 / (d * counted * max(counted - 1, 1))
    square, bos, both, total, other = np.empty((5, context))
    for which in range(sizes.sets):
        for i in range(context):
            square[i] = bos[i] = both[i] = 0
        for f in range(d):
            for i in range(context):
                total[i] = other[i] = 0
            for content in range(which * counted, (which + 1) * counted):
                left, right = x[content, f], y[content, f]
                first, second = 0.5 * float(left[0]), 0.5 * float(right[0])
                for i in range(context):
                    one, two = float(left[i]), float(right[i])
                    total[i] += one
                    other[i] += two
                    square[i] += one * two
                    bos[i] += first * two + second * one
            for i in range(context):
                both[i] += total[i] * other[i]
        for i in range(context):
            if which == 0:
                out[0, i] = square[i] * own
                out[3, i] = bos[i] * own
                out[1, i] = (both[i] - square[i]) * pairs
            if which == sizes.sets - 1:
                out[2, i] = (both[i] - square[i]) * pairs


@njit(**OPTIONS)
def record_matrices(sizes, x, y, out):
    """Write the symmetric part of ``x_i·y_j`` over ``d``, (3, T, T); as `record_diagonals`."""
    context, counted, d = sizes.context, sizes.contents, sizes.d
    like = x.reshape(x.size)[:1]
    product = _matrix(context, sizes.ld, like)
    total, other = _matrix(d, sizes.ld, like), _matrix(d, sizes.ld, like)
    own, between = np.zeros((context, context)), np.zeros((context, context))
    for which in range(sizes.sets):
        own[:] = 0
        total[:] = 0
        other[:] = 0
        for content in range(which * counted, (which + 1) * counted):
            gram(x[content], y[content], product, sizes.width)
            own += product[:, :context]
            total += x[content]
            other += y[content]
        gram(total, other, product, sizes.width)
        between[:] = (product[:, :context] - own) / (d * counted * max(counted - 1, 1))
        if which == 0:
            out[0] = (own + own.T) / (2 * d * counted)
            out[1] = (between + between.T) / 2
        if which == sizes.sets - 1:
            out[2] = (between + between.T) / 2


@njit(**OPTIONS)
def normalise_all(x, out, width, kind, eps):
    """Normalise every content: (contents, d, ld)."""
    for content in range(x.shape[0]):
        normalise(x[content], out[content], width, kind, eps)


@njit(**OPTIONS)
def gain_all(x, gain, bias, width):
    """``x = g x + b`` for every content: (contents, d, ld); either (d,) may be empty."""
    for content in range(x.shape[0]):
        _gain(x[content], gain, width)
        _shift(x[content], bias, width)


@njit(**OPTIONS)
def add_all(x, y, factor, width):
    """``x += factor y`` for every content: (contents, d, ld)."""
    for content in range(x.shape[0]):
        _add_scaled(x[content], y[content], factor, width)


# Score maps of parameter-free stacks: one content in each lane


def _make_lane_tile(rows: int, columns: int) -> Any:
    """Return ``C[r, c] = Σ_k A[r, k] B[k, c]``, where every entry is a vector of contents.

    Arguments of the result: ``a, start, row stride, k stride, b, start, k stride, column stride, c,
    start, row stride, column stride, depth``.
    """

    @intrinsic
    def tile(context, a, a0, a_row, a_k, b, b0, b_k, b_column, c, c0, c_row, c_column, depth):
        signature = types.void(a, _N, _N, _N, b, _N, _N, _N, c, _N, _N, _N, _N)

        def generate(context, builder, signature, args):
            lanes = _Lanes(context, builder, signature.args[0].dtype)
            a, a0, a_row, a_k, b, b0, b_k, b_column, c, c0, c_row, c_column, depth = args

            def index(start: Any, *steps: tuple[Any, Any]) -> Any:
                for stride, count in steps:
                    by = count if isinstance(count, ir.Value) else stride.type(count)
                    start = builder.add(start, builder.mul(stride, by))
                return start

            sums = [[lanes.hold_number(0.0) for _ in range(columns)] for _ in range(rows)]
            with cgutils.for_range(builder, depth) as loop:
                k = loop.index
                left = [
                    lanes.load(lanes.place(signature.args[0], a, index(a0, (a_row, r), (a_k, k))))
                    for r in range(rows)
                ]
                right = [
                    lanes.load(
                        lanes.place(signature.args[4], b, index(b0, (b_column, n), (b_k, k)))
                    )
                    for n in range(columns)
                ]
                for row, x in zip(sums, left, strict=True):
                    for total, y in zip(row, right, strict=True):
                        total.update(lanes.call("fma", x, y, total.get()))
            for r, row in enumerate(sums):
                for n, total in enumerate(row):
                    at = index(c0, (c_row, r), (c_column, n))
                    lanes.store(total.get(), lanes.place(signature.args[8], c, at))
            return context.get_dummy_value()

        return signature, generate

    return tile


_lane_tile = _make_lane_tile(TILE, TILE)


@intrinsic
def _map_and_weigh(context, s, at, count, scale, reference, first, maps, place, squares):
    """Scale a row of scores, map it, and turn it into softmax weights, in every lane.

    What is mapped are deviations from a reference, one number for all lanes, and their squares.
    """

    def generate(context, builder, signature, args):
        s, at, count, scale, reference, first, maps, place, squares = args
        kinds = signature.args
        lanes = _Lanes(context, builder, kinds[0].dtype)
        factor = lanes.splat(scale, lanes.type)

        def entries(visit: Any) -> None:
            with cgutils.for_range(builder, count) as loop:
                step = builder.mul(loop.index, loop.index.type(LANES))
                here = lanes.place(kinds[0], s, builder.add(at, step))
                visit(here, loop.index, step)

        top, total = lanes.hold_number(LOWEST), lanes.hold_number(0.0)

        def add_to_map(here: Any, entry: Any, step: Any) -> None:
            score = builder.fmul(lanes.load(here), factor)
            lanes.store(score, here)
            top.update(lanes.call("maxnum", top.get(), score))
            shift = lanes.entry(kinds[4], reference, builder.add(first, entry))
            x = builder.fsub(score, lanes.splat(shift, lanes.type))
            for start, old in ((place, builder.fadd), (squares, partial(lanes.call, "fma", x))):
                target = lanes.place(kinds[6], maps, builder.add(start, step))
                lanes.store(old(x, lanes.load(target)), target)

        def weigh(here: Any, entry: Any, step: Any) -> None:
            p = lanes.exp(builder.fsub(lanes.load(here), top.get()))
            total.add(p)
            lanes.store(p, here)

        entries(add_to_map)
        entries(weigh)
        inverse = builder.fdiv(lanes.number(1.0), total.get())
        entries(lambda here, *_: lanes.store(builder.fmul(lanes.load(here), inverse), here))
        return context.get_dummy_value()

    return types.void(s, _N, _N, s.dtype, reference, _N, maps, _N, _N), generate


@njit(**OPTIONS)
def embed_lanes(sizes, content, x):
    """Fill the embeddings of ``LANES`` contents (T, d', LANES)."""
    context, d, row = sizes.context, sizes.d, x.shape[1]
    keys, own = np.empty((context + 1, LANES), np.uint64), np.empty(context, np.uint64)
    for lane in range(LANES):
        _token_keys(sizes, ZERO, content + lane, own)
        for i in range(context):
            keys[i, lane] = own[i]
        keys[context, lane] = stream(sizes.seed, ZERO, STREAM_SHARED, content + lane, ONE)
    if sizes.bos == BOS_CONSTANT:
        keys[0, :] = stream(sizes.seed, ZERO, STREAM_BOS, ZERO, ZERO)
    flat, scale = x.reshape(x.size), x.dtype.type(math.sqrt(sizes.v0 * (1 - sizes.alpha)))
    for i in range(context):
        for f in range(0, d, 2):
            at, other = (i * row + f) * LANES, (i * row + min(f + 1, d - 1)) * LANES
            _normal_vectors(keys, i * LANES, np.uint64(f) * _GOLDEN, scale, flat, other, at)
    if sizes.bos in (BOS_ZERO, BOS_MEAN):
        x[0] = 0
    if sizes.alpha > 0:
        _share_lanes(sizes, keys, x)


@njit(**PART)
def _share_lanes(sizes, keys, x):
    """Add to all tokens of a content what they share: its streams are the last of ``keys``."""
    context, d = sizes.context, sizes.d
    shared = np.empty((d, LANES), x.dtype)
    flat, scale = shared.reshape(shared.size), x.dtype.type(math.sqrt(sizes.v0 * sizes.alpha))
    for f in range(0, d, 2):
        at, other = f * LANES, min(f + 1, d - 1) * LANES
        _normal_vectors(keys, context * LANES, np.uint64(f) * _GOLDEN, scale, flat, other, at)
    for i in range(1 if sizes.bos == BOS_ZERO else 0, context):
        for f in range(d):
            for lane in range(LANES):
                x[i, f, lane] += shared[f, lane]


@njit(**PART)
def _normalise_lanes(x, out, d, count, kind, eps):
    """``out = N(x)`` over the features of every position and lane (T, d', LANES)."""
    for i in range(count):
        start = i * x.shape[1] * LANES
        if kind == NORM_LAYER:
            _layer_column(x, start, np.int64(LANES), d, eps, out)
        else:
            _rms_column(x, start, np.int64(LANES), d, eps, out)


@intrinsic
def _turn_pair(context, x, a, b, out, cos, sin, at):
    """Turn the vectors at ``a`` and ``b`` by the angle whose cosine and sine are at ``at``."""

    def generate(context, builder, signature, args):
        x, a, b, out, cos, sin, at = args
        kinds = signature.args
        lanes = _Lanes(context, builder, kinds[0].dtype)
        c, s = (
            lanes.splat(lanes.entry(kind, array, at), lanes.type)
            for kind, array in ((kinds[4], cos), (kinds[5], sin))
        )
        one, other = (lanes.load(lanes.place(kinds[0], x, k)) for k in (a, b))
        first = builder.fsub(builder.fmul(c, one), builder.fmul(s, other))
        second = builder.fadd(builder.fmul(c, other), builder.fmul(s, one))
        for value, k in ((first, a), (second, b)):
            lanes.store(value, lanes.place(kinds[3], out, k))
        return context.get_dummy_value()

    return types.void(x, _N, _N, out, cos, sin, _N), generate


@njit(**PART)
def _rotate_lanes(x, out, first, pairs, cos, sin, count):
    """Turn pairs of features of one head, from feature ``first`` on, of every position."""
    row, ld = x.shape[1], cos.shape[1]
    for i in range(count):
        start = i * row + first
        for p in range(pairs.shape[0]):
            a, b = (start + pairs[p, 0]) * LANES, (start + pairs[p, 1]) * LANES
            _turn_pair(x, a, b, out, cos, sin, p * ld + i)


@njit(**OPTIONS)
def map_scores(sizes, layer, rows, seen, first, batches, x, u, turned, y, s, reference, maps):
    """Run contents through a parameter-free stack, ``LANES`` at a time, and map their scores.

    Parameters
    ----------
    sizes, layer, rows
        Scalars of the stack and of the layer of all blocks, and its positions.
    seen
        Keys ``[first, stop)`` of every query (T, 2).
    first, batches
        First content, number of batches.
    x, u, turned, y
        Residual stream, its normal form, that rotated, what attention adds: (T', d', LANES),
        ``T'`` a multiple of `TILE`, ``d'`` at least ``d``.
    s
        Scores of a tile of queries (TILE, T', LANES).
    reference, maps
        Scores of the first content (blocks, T, T'), and sums of the deviations from them and of
        their squares (blocks, 2, T, T', LANES), per lane.
    """
    context, d, size, heads = sizes.context, sizes.d, layer.size, sizes.heads
    padded, scale = x.shape[0], rows.q_factor[0]
    one, row = x.shape[1] * LANES, padded * LANES
    maps.fill(0)
    for batch in range(batches):
        embed_lanes(sizes, first + batch * LANES, x)
        for block in range(reference.shape[0]):
            if sizes.before_branch:
                _normalise_lanes(x, u, d, context, sizes.norm, sizes.eps)
            else:
                u[:] = x
            if layer.pairs > 0:
                turned[:] = u
            for head in range(heads):
                start = head * size * LANES
                keys = turned if layer.pairs > 0 else u
                if layer.pairs > 0:
                    _rotate_lanes(u, turned, head * size, rows.pairs, rows.cos, rows.sin, context)
                for i in range(0, context, TILE):
                    rows_left = min(TILE, context - i)
                    low, high = seen[i, 0], seen[i, 1]
                    for r in range(1, rows_left):
                        low, high = min(low, seen[i + r, 0]), max(high, seen[i + r, 1])
                    low -= low % TILE
                    for j in range(low, high, TILE):
                        _lane_tile(
                            keys, i * one + start, one, LANES, keys, j * one + start, LANES, one,
                            s, j * LANES, row, LANES, size,
                        )  # fmt: skip
                    for r in range(rows_left):
                        begin, end = seen[i + r, 0], seen[i + r, 1]
                        if batch == 0 and head == 0:
                            for j in range(begin, end):
                                reference[block, i + r, j] = scale * s[r, j, 0]
                        _map_and_weigh(
                            s, (r * padded + begin) * LANES, end - begin, scale,
                            reference, (block * context + i + r) * padded + begin,
                            maps, ((2 * block * context + i + r) * padded + begin) * LANES,
                            (((2 * block + 1) * context + i + r) * padded + begin) * LANES,
                        )  # fmt: skip
                        for j in range(low, begin):
                            s[r, j] = 0
                        for j in range(end, high):
                            s[r, j] = 0
                    for f in range(0, size, TILE):
                        _lane_tile(
                            s, low * LANES, row, LANES,
                            u, low * one + start + f * LANES, one, LANES,
                            y, i * one + start + f * LANES, one, LANES, high - low,
                        )  # fmt: skip
            if sizes.after_branch:
                _normalise_lanes(y, y, d, context, sizes.norm, sizes.eps)
            flat, added, factor = x.reshape(x.size), y.reshape(y.size), x.dtype.type(sizes.residual)
            for n in range(context * one):
                flat[n] += factor * added[n]
            if sizes.after_sum:
                _normalise_lanes(x, x, d, context, sizes.norm, sizes.eps)

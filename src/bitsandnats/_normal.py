"""Machine code for normal numbers, made for the processor it runs on: xoshiro256++ in lanes, then Box and Muller.

Nothing in it is contracted or reordered, so that its numbers are those of IEEE arithmetic, the same on every processor,
and those of a stream the same in whatever portions they are asked for. Vectors are written out as such, so that no
optimiser is needed: the code is made in a tenth of a second, and kept nowhere.
"""

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir

LANES = 8  # generators side by side, 64 bits each
CHUNK = 4 * LANES  # numbers made at once: two words of each lane, two numbers from every 64 bits

_I32, _I64, _F32, _POINTER = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.PointerType()
_WORDS, _BITS, _FLOATS = (ir.VectorType(t, n) for t, n in ((_I64, LANES), (_I32, 2 * LANES), (_F32, 2 * LANES)))

# minimax, from the highest power down
_LOG = (-0.07859615, 0.12881649, -0.13128754, 0.14181191, -0.16624554, 0.20002287, -0.2500081, 0.33333317, -0.5)
_SINE = (2.60893266e-06, -1.98111127e-04, 8.33308817e-03, -1.66666605e-01)
_COSINE = (-2.61938152e-07, 2.47693042e-05, -1.38885692e-03, 4.16666558e-02, -0.5)
_ROOT_HALF = 0x3F3504F3  # √½, as the bits of a float


class Kernels(NamedTuple):
    """Compiled functions of addresses and strides; what is at the addresses is for the caller to answer for.

    Each begins with the streams' lanes, held numbers and how many of those are used. Then come the numbers of chains
    and of elements a chain, an address and the step from chain to chain for every array, and single numbers.

    Attributes:
        fill: x ← η.
        langevin: of w, c, g with a, b, s: w ← w + a (c − w) − b g + s η.
        engine: what owns the code.
    """

    fill: Callable[..., None]
    langevin: Callable[..., None]
    engine: Any


def kernels() -> Kernels:
    """The compiled functions; to be made once and kept."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # not known everywhere; the name then says enough
        features = ""
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(_module())), machine)
    head, array = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2, [ctypes.c_void_p, ctypes.c_int64]
    fill = ctypes.CFUNCTYPE(None, *head, *array)
    langevin = ctypes.CFUNCTYPE(None, *head, *array * 3, *[ctypes.c_float] * 3)
    at = engine.get_function_address
    return Kernels(fill(at("fill")), langevin(at("langevin")), engine)


def _module() -> ir.Module:
    module = ir.Module("normal")
    chunk = _emit_chunk(module)
    _emit(module, chunk, "fill", 1, 0, lambda arrays, numbers, noise: noise)

    def langevin(arrays: "list[_Value]", numbers: "list[_Value]", noise: "_Value") -> "_Value":
        (w, center, gradient), (pull, push, scale) = arrays, numbers
        return w + (center - w) * pull - gradient * push + noise * scale

    _emit(module, chunk, "langevin", 3, 3, langevin)
    return module


@dataclass(frozen=True)
class _Value:
    """A number or a vector of them in the code in the making; operators add instructions."""

    build: ir.IRBuilder
    raw: Any

    def like(self, other: "_Value | float") -> "_Value":
        """`other` in this value's type: constants, and single numbers copied to all elements."""
        kind = self.raw.type
        if not isinstance(other, _Value):
            return _Value(self.build, ir.Constant(kind, [other] * kind.count))
        if other.raw.type == kind:
            return other
        first = self.build.insert_element(ir.Constant(kind, ir.Undefined), other.raw, _I32(0))
        return _Value(self.build, self.build.shuffle_vector(first, first, ir.VectorType(_I32, kind.count)(None)))

    def _with(self, name: str, other: "_Value | float") -> "_Value":
        kind = self.raw.type
        floating = kind in (_F32, _FLOATS)
        return _Value(self.build, getattr(self.build, "f" * floating + name)(self.raw, self.like(other).raw))

    def __add__(self, other: "_Value | float") -> "_Value":
        return self._with("add", other)

    def __sub__(self, other: "_Value | float") -> "_Value":
        return self._with("sub", other)

    def __mul__(self, other: "_Value | float") -> "_Value":
        return self._with("mul", other)

    def __xor__(self, other: "_Value") -> "_Value":
        return self._with("xor", other)

    def __and__(self, other: int) -> "_Value":
        return self._with("and_", other)

    def __or__(self, other: "_Value | int") -> "_Value":
        return self._with("or_", other)

    def __lshift__(self, by: int) -> "_Value":
        return self._with("shl", by)

    def __rshift__(self, by: int) -> "_Value":
        return self._with("ashr", by)

    def rotated(self, by: int) -> "_Value":
        return (self << by) | self._with("lshr", 64 - by)

    def bits_as(self, kind: ir.Type) -> "_Value":
        return _Value(self.build, self.build.bitcast(self.raw, kind))

    def as_floats(self) -> "_Value":
        return _Value(self.build, self.build.sitofp(self.raw, _FLOATS))

    def root(self) -> "_Value":
        name, module = f"llvm.sqrt.v{2 * LANES}f32", self.build.module
        known = module.globals.get(name) or ir.Function(module, ir.FunctionType(_FLOATS, [_FLOATS]), name)
        return _Value(self.build, self.build.call(known, [self.raw]))


def _polynomial(x: _Value, coefficients: Sequence[float]) -> _Value:
    found = x.like(coefficients[0])
    for coefficient in coefficients[1:]:
        found = found * x + coefficient
    return found


def _advance(state: list[_Value]) -> tuple[list[_Value], _Value]:
    """One step of xoshiro256++ (Blackman & Vigna 2021) in all lanes: the new state and 64 bits a lane."""
    a, b, c, d = state
    word = (a + d).rotated(23) + a
    shifted = b << 17
    c, d = c ^ a, d ^ b
    b, a = b ^ c, a ^ d
    return [a, b, c ^ shifted, d.rotated(45)], word


def _box_muller(radius: _Value, angle: _Value) -> tuple[_Value, _Value]:
    """Two normal numbers from 64 bits: 31 for the radius √(−2 ln u), one for the side, 32 for an angle in ±π/2."""
    u = ((radius & 0x7FFFFFFF).as_floats() + 0.5) * 2.0**-31  # at least 2⁻³²: numbers reach 6.66
    k = u.bits_as(_BITS) - _ROOT_HALF  # u = 2^(k >> 23) (1 + f), 1 + f from √½ to √2
    f = ((k & 0x007FFFFF) + _ROOT_HALF).bits_as(_FLOATS) - 1.0
    log = (k >> 23).as_floats() * math.log(2) + (f * f * _polynomial(f, _LOG) + f)
    long = (log * -2.0).root()
    side = ((radius >> 31) | 1).as_floats()
    x = angle.as_floats() * (math.pi / 2**32)
    square = x * x
    cosine = square * _polynomial(square, _COSINE) + 1.0
    sine = x * square * _polynomial(square, _SINE) + x
    return long * side * cosine, long * sine


def _load(build: ir.IRBuilder, place: Any, kind: ir.Type) -> _Value:
    return _Value(build, build.load(place, align=4, typ=kind))


def _next_chunk(build: ir.IRBuilder, lanes: Any) -> list[_Value]:
    """A stream's next numbers, in two halves; its state moves on."""
    places = [build.gep(lanes, [_I32(i)], source_etype=_WORDS) for i in range(4)]
    state, radius = _advance([_load(build, place, _WORDS) for place in places])
    state, angle = _advance(state)
    for value, place in zip(state, places, strict=True):
        build.store(value.raw, place, align=4)
    return list(_box_muller(radius.bits_as(_BITS), angle.bits_as(_BITS)))


def _emit_chunk(module: ir.Module) -> ir.Function:
    """A function of lanes and held numbers that renews these."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_POINTER, _POINTER]), "chunk")
    function.attributes.add("noinline")
    build = ir.IRBuilder(function.append_basic_block())
    lanes, held = function.args
    for half, noise in enumerate(_next_chunk(build, lanes)):
        build.store(noise.raw, build.gep(held, [_I32(half)], source_etype=_FLOATS), align=4)
    build.ret_void()
    return function


@contextmanager
def _loop(build: ir.IRBuilder, first: Any, end: Any, step: int) -> Iterator[Any]:
    """Code for the indices first, first + step, … below `end`."""
    before = build.block
    head, body, after = (build.append_basic_block() for _ in range(3))
    build.branch(head)
    build.position_at_end(head)
    index = build.phi(_I64)
    index.add_incoming(first, before)
    build.cbranch(build.icmp_signed("<", index, end), body, after)
    build.position_at_end(body)
    yield index
    index.add_incoming(build.add(index, _I64(step)), build.block)
    build.branch(head)
    build.position_at_end(after)


def _emit(
    module: ir.Module,
    chunk: ir.Function,
    name: str,
    inputs: int,
    scalars: int,
    rule: Callable[[list[_Value], list[_Value], _Value], _Value],
) -> None:
    """A function that gives each element of the first array what `rule` makes of arrays, single numbers and noise."""
    kinds = [*[_POINTER] * 3, _I64, _I64, *[_POINTER, _I64] * inputs, *[_F32] * scalars]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    lanes, held, used_at, chains, count, *rest = function.args
    numbers = rest[2 * inputs :]
    build = ir.IRBuilder(function.append_basic_block())
    given = [_Value(build, number) for number in numbers]
    with _loop(build, _I64(0), chains, 1) as chain:
        own_lanes = build.gep(lanes, [build.mul(chain, _I64(4))], source_etype=_WORDS)
        own_held = build.gep(held, [build.mul(chain, _I64(CHUNK))], source_etype=_F32)
        own_used = build.gep(used_at, [chain], source_etype=_I64)
        rows = [
            build.gep(array, [build.mul(chain, stride)], source_etype=_F32)
            for array, stride in zip(rest[0 : 2 * inputs : 2], rest[1 : 2 * inputs : 2], strict=True)
        ]

        def apply(index: Any, kind: ir.Type, noise: _Value, rows: list[Any] = rows) -> None:
            places = [build.gep(row, [index], source_etype=_F32) for row in rows]
            found = rule([_load(build, place, kind) for place in places], given, noise)
            build.store(found.raw, places[0], align=4)

        used, left = build.load(own_used, typ=_I64), build.sub(_I64(CHUNK), build.load(own_used, typ=_I64))
        first = build.select(build.icmp_signed("<", count, left), count, left)
        with _loop(build, _I64(0), first, 1) as i:  # what was left of the last chunk
            at = build.gep(own_held, [build.add(used, i)], source_etype=_F32)
            apply(i, _F32, _load(build, at, _F32))
        build.store(build.add(used, first), own_used)
        whole = build.add(first, build.and_(build.sub(count, first), _I64(-CHUNK)))
        with _loop(build, first, whole, CHUNK) as i:
            for half, noise in enumerate(_next_chunk(build, own_lanes)):
                apply(build.add(i, _I64(half * 2 * LANES)), _FLOATS, noise)
        with build.if_then(build.icmp_signed("<", whole, count)):  # the beginning of one more
            build.call(chunk, [own_lanes, own_held])
            with _loop(build, whole, count, 1) as i:
                at = build.gep(own_held, [build.sub(i, whole)], source_etype=_F32)
                apply(i, _F32, _load(build, at, _F32))
            build.store(build.sub(count, whole), own_used)
    build.ret_void()

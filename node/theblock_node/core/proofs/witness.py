"""The values of a circuit's wires, computed from its inputs by the WebAssembly that circom 2 made of it.

The module is a stranger's: it gets its four imports and nothing else, fuel instead of time, and a bounded memory; the
same module and inputs give the same wires, or the same refusal, everywhere. Two modules of ours stand beside it. The
guard is its imports: nothing that it does calls back into Python. The shim moves values in windows of memory, from
inside, since a call for every word costs more than the circuit does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, TypeVar

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs.field import ELEMENT_BYTES, R

if TYPE_CHECKING:
    import wasmtime

Kind = TypeVar("Kind")
Value = int | Sequence["Value"]
"""A number below R, or an array of such values, of any rank."""

FUEL = 100_000_000_000
"""Steps of WebAssembly, some seven seconds of them: a chain of 65,536 squarings and our SHA-256 take 3·10^8."""
FUEL_LOADING = 10_000_000
WASM_BYTES_MAX = 64 * 2**20
MEMORY_BYTES_MAX = 2**30
TABLE_ELEMENTS_MAX = 2**16
WIRE_COUNT_MAX = 2**24
INPUT_BYTES_MAX = 2**24
INPUT_COUNT_MAX = 2**20
INPUT_DEPTH_MAX = 16
NAME_LENGTH_MAX = 256
MESSAGE_LENGTH_MAX = 200

WINDOW = 2**15
"""Values that cross over at once."""
_GUARD = """(module
  (type $char (func (result i32)))
  (table (export "getMessageChar") 1 1 funcref)
  (memory (export "messages") 1 1)
  (global $length (export "length") (mut i32) (i32.const 0))
  (global $code (export "code") (mut i32) (i32.const 0))
  (func (export "exceptionHandler") (param $code i32)
    (global.set $code (local.get $code))
    (unreachable))
  (func (export "writeBufferMessage"))
  (func (export "showSharedRWMemory"))
  (func (export "printErrorMessage") (local $char i32)
    (loop $next
      (if (i32.lt_u (global.get $length) (i32.const 1024)) (then
        (local.set $char (call_indirect (type $char) (i32.const 0)))
        (i32.store8 (global.get $length) (local.get $char))
        (global.set $length (i32.add (global.get $length) (i32.const 1)))
        (br_if $next (local.get $char)))))))"""
_SHIM = f"""(module
  (import "circuit" "memory" (memory $theirs 0))
  (import "circuit" "getWitness" (func $get (param i32)))
  (import "circuit" "setInputSignal" (func $set (param i32 i32 i32)))
  (memory $ours (export "window") {WINDOW * ELEMENT_BYTES // 2**16})
  (func (export "read") (param $shared i32) (param $first i32) (param $count i32) (local $at i32)
    (loop $next
      (call $get (i32.add (local.get $first) (local.get $at)))
      (memory.copy $ours $theirs
        (i32.mul (local.get $at) (i32.const 32)) (local.get $shared) (i32.const 32))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $count)))))
  (func (export "write") (param $shared i32) (param $first i32) (param $count i32) (param $high i32) (param $low i32)
    (local $at i32)
    (loop $next
      (memory.copy $theirs $ours
        (local.get $shared) (i32.mul (local.get $at) (i32.const 32)) (i32.const 32))
      (call $set (local.get $high) (local.get $low) (i32.add (local.get $first) (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $count))))))"""

_Signature = tuple[list[str], list[str]]
_IMPORTS: dict[str, _Signature] = {
    "exceptionHandler": (["i32"], []),
    "printErrorMessage": ([], []),
    "writeBufferMessage": ([], []),
    "showSharedRWMemory": ([], []),
}
_EXPORTS: dict[str, _Signature] = {
    "getVersion": ([], ["i32"]),
    "getSharedRWMemoryStart": ([], ["i32"]),
    "init": (["i32"], []),
    "setInputSignal": (["i32", "i32", "i32"], []),
    "getInputSignalSize": (["i32", "i32"], ["i32"]),
    "getRawPrime": ([], []),
    "getFieldNumLen32": ([], ["i32"]),
    "getWitnessSize": ([], ["i32"]),
    "getInputSize": ([], ["i32"]),
    "getWitness": (["i32"], []),
    "getMessageChar": ([], ["i32"]),
}
_VERSION = 2
_EXCEPTIONS = {
    1: "signal_not_found",
    2: "too_many_signals",
    3: "already_set",
    4: "assert_failed",
    5: "not_enough_memory",
    6: "input_index",
    7: "array_index",
}


@dataclass(frozen=True, slots=True)
class _Parts:
    """What every run of a program is made of, compiled by one engine."""

    engine: wasmtime.Engine
    circuit: wasmtime.Module
    guard: wasmtime.Module
    shim: wasmtime.Module


@dataclass(frozen=True, slots=True)
class Program:
    """A circuit's module, compiled and looked at; may be used by many threads at once."""

    wire_count: int
    input_count: int
    _parts: _Parts = field(repr=False)

    def compute(self, inputs: Mapping[str, Value], *, fuel: int = FUEL) -> list[int]:
        """The values of all wires, the constant one first.

        That they satisfy the circuit's constraints is not said here: the module may be wrong, and the proof shows it.
        """
        given = {_check_name(name): list(_flatten(name, value)) for name, value in inputs.items()}
        run = _Run(self._parts, fuel)
        with run.refusing():
            run.call("init", 1)
            for name, values in given.items():
                run.set_signal(name, values)
            missing = self.input_count - sum(map(len, given.values()))
            if missing:
                raise _bad_inputs("", "missing", missing=missing)
            wires = run.read_wires(self.wire_count)
        if wires[0] != 1 or max(wires) >= R:
            raise _failed("range")
        return wires

    def takes(self, signal: str) -> bool:
        """Whether an input is called that."""
        run = _Run(self._parts, FUEL_LOADING)
        with run.refusing():
            return run.find_signal(signal)[2] > 0


def load(wasm: bytes) -> Program:
    """The program in the module ``wasm``; one that circom 2 did not make for this field is refused.

    Nothing bounds how long compiling takes: whoever loads what strangers send calls `compile_module` where it can be
    ended, and then `load_compiled`.
    """
    return _make_program(*_compile(wasm))


def compile_module(wasm: bytes) -> bytes:
    """The module as code of this machine."""
    return bytes(_compile(wasm)[1].serialize())


def load_compiled(code: bytes) -> Program:
    """The program in what `compile_module` of this same installation returned; anything else is our own mistake."""
    import wasmtime

    engine = _make_engine()
    return _make_program(engine, wasmtime.Module.deserialize(engine, code))


def _compile(wasm: bytes) -> tuple[wasmtime.Engine, wasmtime.Module]:
    try:
        import wasmtime
    except ImportError as error:
        raise InvalidRecord("snark.no_backend", missing="wasmtime") from error
    if len(wasm) > WASM_BYTES_MAX:
        raise InvalidRecord("snark.bad_wasm", reason="size", size=len(wasm), max=WASM_BYTES_MAX)
    if wasm[:4] != b"\0asm":
        raise InvalidRecord("snark.bad_wasm", reason="magic")
    engine = _make_engine()
    try:
        return engine, wasmtime.Module(engine, wasm)
    except wasmtime.WasmtimeError as error:
        raise InvalidRecord("snark.bad_wasm", reason="invalid", message=_shorten(str(error))) from error


def _make_program(engine: wasmtime.Engine, circuit: wasmtime.Module) -> Program:
    import wasmtime

    _check_interface(circuit)
    parts = _Parts(engine, circuit, wasmtime.Module(engine, _GUARD), wasmtime.Module(engine, _SHIM))
    try:
        run = _Run(parts, FUEL_LOADING)
        with run.refusing():
            version, words, prime = run.call("getVersion"), run.call("getFieldNumLen32"), run.read_prime()
            wire_count, input_count = run.call("getWitnessSize"), run.call("getInputSize")
    except InvalidRecord as refusal:
        raise InvalidRecord("snark.bad_wasm", **refusal.facts) from refusal
    if version != _VERSION:
        raise InvalidRecord("snark.bad_wasm", reason="version", version=version)
    if words * 4 != ELEMENT_BYTES or prime != R:
        raise InvalidRecord("snark.bad_wasm", reason="prime")
    if not 0 < wire_count <= WIRE_COUNT_MAX or not 0 <= input_count <= INPUT_COUNT_MAX:
        raise InvalidRecord("snark.bad_wasm", reason="counts", wires=wire_count, inputs=input_count)
    return Program(wire_count, input_count, parts)


def parse_inputs(text: bytes) -> dict[str, Value]:
    """The inputs in a JSON object: by signal a whole number, as a string or plain, or an array of such values."""
    if len(text) > INPUT_BYTES_MAX:
        raise _bad_inputs("", "size", size=len(text), max=INPUT_BYTES_MAX)
    try:
        document = json.loads(
            text.decode(), object_pairs_hook=_unique, parse_float=_refuse_number, parse_constant=_refuse_number
        )
    except (ValueError, RecursionError) as error:
        raise _bad_inputs("", "json") from error
    if not isinstance(document, dict):
        raise _bad_inputs("", "no_object")
    return {_check_name(name): _parse_value(name, value, INPUT_DEPTH_MAX) for name, value in document.items()}


def hash_signal(name: str) -> int:
    """The name under which the module knows a signal: FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


class _Run:
    """One instance of a module, used once, between the guard and the shim."""

    def __init__(self, parts: _Parts, fuel: int) -> None:
        import wasmtime

        self._store = store = wasmtime.Store(parts.engine)
        store.set_fuel(fuel)
        store.set_limits(MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX, instances=3, tables=2, memories=3)
        self._guard = wasmtime.Instance(store, parts.guard, []).exports(store)
        with self.refusing():
            self._circuit = wasmtime.Instance(
                store, parts.circuit, [self._guard[item.name or ""] for item in parts.circuit.imports]
            ).exports(store)
            _of(wasmtime.Table, self._guard["getMessageChar"]).set(store, 0, self._circuit["getMessageChar"])
            wanted = [self._circuit[name] for name in ("memory", "getWitness", "setInputSignal")]
            self._shim = wasmtime.Instance(store, parts.shim, wanted).exports(store)
            self._window = _of(wasmtime.Memory, self._shim["window"])
            self._shared = self.call("getSharedRWMemoryStart")

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Make a refusal of whatever the module does wrong."""
        import wasmtime

        try:
            yield
        except wasmtime.Trap as trap:
            if exception := self._read_global("code"):
                reason = _EXCEPTIONS.get(exception, "exception")
                raise _failed(reason, exception=exception, message=self._read_messages()) from trap
            code = trap.trap_code
            reason = "fuel" if code is wasmtime.TrapCode.OUT_OF_FUEL else "trap"
            raise _failed(reason, trap=code.name if code is not None else "") from trap
        except wasmtime.WasmtimeError as error:
            raise _failed("limits", message=_shorten(str(error))) from error

    def call(self, name: str, *arguments: int) -> int:
        return _call(self._store, self._circuit[name], *arguments)

    def read_prime(self) -> int:
        import wasmtime

        self.call("getRawPrime")
        start, memory = self._shared % 2**32, _of(wasmtime.Memory, self._circuit["memory"])
        return int.from_bytes(memory.read(self._store, start, start + ELEMENT_BYTES), "little")

    def find_signal(self, name: str) -> tuple[int, int, int]:
        """The halves of its hash, and how many values it takes: at most 0 where there is none."""
        high, low = (_signed(half) for half in divmod(hash_signal(name), 2**32))
        return high, low, self.call("getInputSignalSize", high, low)

    def set_signal(self, name: str, values: Sequence[int]) -> None:
        high, low, size = self.find_signal(name)
        if size < 0 or (size == 0 and values):
            raise _bad_inputs(name, "unknown")
        if size != len(values):
            raise _bad_inputs(name, "count", count=len(values), needed=size)
        for first in range(0, size, WINDOW):
            part = values[first : first + WINDOW]
            data = b"".join(value.to_bytes(ELEMENT_BYTES, "little") for value in part)
            self._window.write(self._store, data, 0)
            _call(self._store, self._shim["write"], self._shared, first, len(part), high, low)

    def read_wires(self, count: int) -> list[int]:
        wires: list[int] = []
        for first in range(0, count, WINDOW):
            part = min(WINDOW, count - first)
            _call(self._store, self._shim["read"], self._shared, first, part)
            data = bytes(self._window.read(self._store, 0, part * ELEMENT_BYTES))
            starts = range(0, len(data), ELEMENT_BYTES)
            wires += [int.from_bytes(data[at : at + ELEMENT_BYTES], "little") for at in starts]
        return wires

    def _read_global(self, name: str) -> int:
        import wasmtime

        return int(_of(wasmtime.Global, self._guard[name]).value(self._store))

    def _read_messages(self) -> str:
        """What the module says of its failure: the template and the line."""
        import wasmtime

        memory = _of(wasmtime.Memory, self._guard["messages"])
        return _shorten(memory.read(self._store, 0, self._read_global("length")).decode("ascii", "replace"))


def _make_engine() -> wasmtime.Engine:
    import wasmtime

    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True
    config.wasm_multi_memory = True
    config.wasm_threads = False
    config.wasm_relaxed_simd = False
    config.wasm_memory64 = False
    return wasmtime.Engine(config)


def _check_interface(module: wasmtime.Module) -> None:
    import wasmtime

    for found in module.imports:
        signature = _IMPORTS.get(found.name or "")
        if found.module != "runtime" or signature is None or _signature(found.type) != signature:
            raise InvalidRecord("snark.bad_wasm", reason="import", name=_shorten(f"{found.module}.{found.name}"))
    exports = {export.name: export.type for export in module.exports}
    for wanted, signature in _EXPORTS.items():
        if _signature(exports.get(wanted)) != signature:
            raise InvalidRecord("snark.bad_wasm", reason="export", name=wanted)
    if not isinstance(exports.get("memory"), wasmtime.MemoryType):
        raise InvalidRecord("snark.bad_wasm", reason="export", name="memory")


def _signature(found: object) -> _Signature | None:
    import wasmtime

    if not isinstance(found, wasmtime.FuncType):
        return None
    return [str(kind) for kind in found.params], [str(kind) for kind in found.results]


def _check_name(name: str) -> str:
    if not (name.isascii() and name.isprintable() and 0 < len(name) <= NAME_LENGTH_MAX):
        raise _bad_inputs(ascii(name[:40]), "name")
    return name


def _flatten(name: str, value: Value, depth: int = INPUT_DEPTH_MAX) -> Iterator[int]:
    if isinstance(value, int):
        if not 0 <= value < R:
            raise _bad_inputs(name, "range")
        yield value
    elif depth == 0:
        raise _bad_inputs(name, "depth", max=INPUT_DEPTH_MAX)
    else:
        for part in value:
            yield from _flatten(name, part, depth - 1)


def _parse_value(name: str, value: object, depth: int) -> Value:
    if isinstance(value, list) and depth > 0:
        return [_parse_value(name, part, depth - 1) for part in value]
    if isinstance(value, str) and len(value) <= 77 and value.isascii() and value.isdecimal():
        value = int(value)
    if type(value) is not int:
        raise _bad_inputs(name, "number")
    if not 0 <= value < R:
        raise _bad_inputs(name, "range")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a signal stands twice")
    return found


def _refuse_number(number: str) -> NoReturn:
    raise ValueError(f"{number[:20]} is no whole number")


def _failed(reason: str, **facts: object) -> InvalidRecord:
    return InvalidRecord("snark.witness_failed", reason=reason, **facts)


def _bad_inputs(signal: str, reason: str, **facts: object) -> InvalidRecord:
    return InvalidRecord("snark.bad_inputs", signal=signal[:NAME_LENGTH_MAX], reason=reason, **facts)


def _of(kind: type[Kind], found: object) -> Kind:
    """An export whose kind was looked at before, or is our own."""
    assert isinstance(found, kind)
    return found


def _call(store: wasmtime.Store, function: object, *arguments: int) -> int:
    import wasmtime

    result: int | None = _of(wasmtime.Func, function)(store, *arguments)
    return result or 0


def _signed(word: int) -> int:
    """As WebAssembly's callers pass 32 bits."""
    return word - 2**32 if word >= 2**31 else word


def _shorten(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text[:MESSAGE_LENGTH_MAX])
    return printable.strip()

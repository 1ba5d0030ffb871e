"""Witnesses of circom's modules: equal to snarkjs's, and refused by name where module, inputs or fuel are bad."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import wasmtime
from support import snark
from support.circom import SOURCES, Tools
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import r1cs, witness
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.formats import wtns

CUBE = snark.read_vector("cube.wasm")
INPUTS = {"x": 3, "ctx": 5}
SHA256_INPUTS = {"message": [*b"abc", 0x80, *bytes(52), *(24).to_bytes(8, "big")], "ctx": 7}
POSEIDON_INPUTS = {"leaf": 5, "siblings": list(range(16)), "sides": [0, 1] * 8, "ctx": 7}


@pytest.fixture(scope="module")
def cube():
    return witness.load(CUBE)


@pytest.fixture(scope="module")
def tools(tmp_path_factory) -> Tools:
    return Tools(tmp_path_factory.mktemp("circom"))


def refusal_of(act) -> dict:
    with pytest.raises(InvalidRecord) as refused:
        act()
    return {"refused": refused.value.code, **refused.value.facts}


def test_wires_satisfy_the_circuit(cube):
    wires = cube.compute(INPUTS)

    assert wires[:3] == [1, 27, 5]
    r1cs.check_witness(r1cs_file.read(snark.read_vector("cube.r1cs")), wires)


def test_a_program_may_be_compiled_elsewhere(cube):
    compiled = witness.load_compiled(witness.compile_module(CUBE))

    assert (compiled.wire_count, compiled.input_count) == (cube.wire_count, cube.input_count)
    assert compiled.compute(INPUTS) == cube.compute(INPUTS)


def test_many_threads_share_a_program(cube):
    def run(x: int) -> int | str:
        try:
            return cube.compute({"x": x, "ctx": 0})[1]
        except InvalidRecord as refused:
            return str(refused.facts["reason"])

    with ThreadPoolExecutor(4) as pool:
        given = [x if x % 3 else 2**64 + x for x in range(60)]

        assert list(pool.map(run, given)) == [x**3 if x % 3 else "assert_failed" for x in range(60)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("in", 0x08B73807B55C4BBE), ("a", 0xAF63DC4C8601EC8C), ("x", 0xAF63F54C86021707)],
)
def test_signals_are_named_by_their_hash(name, expected):
    assert witness.hash_signal(name) == expected


@pytest.mark.parametrize(
    ("inputs", "facts"),
    [
        pytest.param({"x": 3}, {"signal": "", "reason": "missing", "missing": 1}, id="one-missing"),
        pytest.param({**INPUTS, "z": 1}, {"signal": "z", "reason": "unknown"}, id="one-unknown"),
        pytest.param(
            {**INPUTS, "x": [1, 2]}, {"signal": "x", "reason": "count", "count": 2, "needed": 1}, id="two-many"
        ),
        pytest.param(
            {**INPUTS, "x": []}, {"signal": "x", "reason": "count", "count": 0, "needed": 1}, id="none-at-all"
        ),
        pytest.param({**INPUTS, "x": R}, {"signal": "x", "reason": "range"}, id="not-below-r"),
        pytest.param({**INPUTS, "\ud800": 1}, {"signal": r"'\ud800'", "reason": "name"}, id="half-a-character"),
        pytest.param({**INPUTS, "x": -1}, {"signal": "x", "reason": "range"}, id="negative"),
    ],
)
def test_inputs_that_the_circuit_does_not_take_are_refused(cube, inputs, facts):
    assert refusal_of(lambda: cube.compute(inputs)) == {"refused": "snark.bad_inputs", **facts}


def test_a_broken_assertion_is_named_with_its_line(cube):
    facts = refusal_of(lambda: cube.compute({"x": 2**64, "ctx": 0}))

    line = 1 + (SOURCES / "cube.circom").read_text().splitlines().index("    sum === x;")
    assert facts == {
        "refused": "snark.witness_failed",
        "reason": "assert_failed",
        "exception": 4,
        "message": f"Error in template Cube_0 line: {line}",
    }


@pytest.mark.parametrize("fuel", [0, 1_000, 1_000_000])
def test_fuel_is_all_the_time_that_there_is(cube, fuel):
    facts = refusal_of(lambda: cube.compute(INPUTS, fuel=fuel))

    assert facts == {"refused": "snark.witness_failed", "reason": "fuel", "trap": "OUT_OF_FUEL"}


def patched(old: str, new: str) -> bytes:
    """The module with one name in place of another of the same length."""
    assert len(old) == len(new)
    assert old.encode() in CUBE
    return CUBE.replace(old.encode(), new.encode())


EXPORTS = """(func (export "getVersion") (result i32) i32.const {version})
  (func (export "getSharedRWMemoryStart") (result i32) i32.const 0)
  (func (export "init") (param i32) {init}) (func (export "setInputSignal") (param i32 i32 i32))
  (func (export "getInputSignalSize") (param i32 i32) (result i32) i32.const 0)
  (func (export "getRawPrime")) (func (export "getFieldNumLen32") (result i32) i32.const 8)
  (func (export "getWitnessSize") (result i32) i32.const {wires}) (func (export "getWitness") (param i32))
  (func (export "getInputSize") (result i32) i32.const 0) (func (export "getMessageChar") (result i32) i32.const 0)
  (memory (export "memory") {pages}) {more}"""
PRIME = "".join(f"\\{byte:02x}" for byte in R.to_bytes(32, "little"))


def module(version=2, init="", wires=1, pages=1, more="", prime=PRIME, imports="") -> bytes:
    """A module that has all that is asked of one; its only wire is not one."""
    exports = EXPORTS.format(version=version, init=init, wires=wires, pages=pages, more=more)
    return bytes(wasmtime.wat2wasm(f'(module {imports} {exports} (data (i32.const 0) "{prime}"))'))


@pytest.mark.parametrize(
    ("wasm", "facts"),
    [
        pytest.param(b"", {"reason": "magic"}, id="empty"),
        pytest.param(b"(module)", {"reason": "magic"}, id="text"),
        pytest.param(b"\0asm\x01\0\0\0", {"reason": "export", "name": "getVersion"}, id="no-exports"),
        pytest.param(patched("getRawPrime", "getRawPrimf"), {"reason": "export", "name": "getRawPrime"}, id="no-prime"),
        pytest.param(
            patched("showSharedRWMemory", "showSharedRWMemorx"),
            {"reason": "import", "name": "runtime.showSharedRWMemorx"},
            id="an-import-of-its-own",
        ),
        pytest.param(
            module(imports='(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))'),
            {"reason": "import", "name": "wasi_snapshot_preview1.fd_write"},
            id="the-disk",
        ),
        pytest.param(
            module(imports='(import "runtime" "exceptionHandler" (func (param i64)))'),
            {"reason": "import", "name": "runtime.exceptionHandler"},
            id="an-import-of-another-type",
        ),
        pytest.param(module(version=1), {"reason": "version", "version": 1}, id="circom-1"),
        pytest.param(module(prime="\\01"), {"reason": "prime"}, id="another-field"),
        pytest.param(module(wires=0), {"reason": "counts", "wires": 0, "inputs": 0}, id="no-wire"),
        pytest.param(module(wires=-1), {"reason": "counts", "wires": -1, "inputs": 0}, id="less-than-no-wire"),
        pytest.param(
            module(wires=2**24 + 1), {"reason": "counts", "wires": 2**24 + 1, "inputs": 0}, id="wires-past-the-limit"
        ),
        pytest.param(
            module(more="(start $s) (func $s (loop $l (br $l)))"),
            {"reason": "fuel", "trap": "OUT_OF_FUEL"},
            id="starts-and-never-ends",
        ),
        pytest.param(
            module(more="(start $s) (func $s (call $s))"),
            {"reason": "trap", "trap": "STACK_OVERFLOW"},
            id="calls-itself-without-end",
        ),
    ],
)
def test_a_module_that_circom_did_not_make_is_refused(wasm, facts):
    assert refusal_of(lambda: witness.load(wasm)) == {"refused": "snark.bad_wasm", **facts}


@pytest.mark.parametrize(
    ("wasm", "reason"),
    [
        pytest.param(module(pages=2**14 + 1), "limits", id="memory-at-the-start"),
        pytest.param(module(more="(table 65537 funcref)"), "limits", id="table"),
        pytest.param(module(more="(memory 1) (memory 1)"), "limits", id="more-memories"),
    ],
)
def test_a_module_gets_no_more_than_its_bounds(wasm, reason):
    facts = refusal_of(lambda: witness.load(wasm))

    assert (facts["refused"], facts["reason"]) == ("snark.bad_wasm", reason)


def test_memory_does_not_grow_past_its_bound():
    grown = witness.load(module(init="(if (i32.ne (memory.grow (i32.const 16384)) (i32.const -1)) (then unreachable))"))

    assert refusal_of(lambda: grown.compute({})) == {"refused": "snark.witness_failed", "reason": "range"}


def test_mutants_of_a_module_do_no_harm():
    """A bent module is refused, or gives wires below r that proving judges; nothing else ever leaves it."""
    chance = random.Random(22)
    outcomes = {"refused": 0, "wires": 0}
    for _ in range(120):
        bent = bytearray(CUBE)
        for _ in range(chance.randint(1, 3)):
            bent[chance.randrange(8, len(bent))] ^= 1 << chance.randrange(8)
        try:
            wires = witness.load(bytes(bent)).compute(INPUTS, fuel=1_000_000_000)
        except InvalidRecord as refused:
            outcomes["refused"] += refused.code in {"snark.bad_wasm", "snark.witness_failed", "snark.bad_inputs"}
        else:
            outcomes["wires"] += all(0 <= value < R for value in wires)

    assert sum(outcomes.values()) == 120
    assert min(outcomes.values()) > 10


def test_inputs_are_read_from_json():
    text = b'{"x": "3", "array": [1, ["2", %d]]}' % (R - 1)

    assert witness.parse_inputs(text) == {"x": 3, "array": [1, [2, R - 1]]}


@pytest.mark.parametrize(
    ("text", "signal", "reason"),
    [
        pytest.param(b"", "", "json", id="empty"),
        pytest.param(b"\xff", "", "json", id="no-text"),
        pytest.param(b"[]", "", "no_object", id="a-list"),
        pytest.param(b'{"x": 1, "x": 2}', "", "json", id="twice"),
        pytest.param(b'{"x": 1.0}', "", "json", id="a-fraction"),
        pytest.param(b'{"x": NaN}', "", "json", id="no-number"),
        pytest.param(b'{"x": true}', "x", "number", id="a-truth"),
        pytest.param(b'{"x": null}', "x", "number", id="nothing"),
        pytest.param(b'{"x": {}}', "x", "number", id="an-object"),
        pytest.param(b'{"x": "0x10"}', "x", "number", id="hexadecimal"),
        pytest.param(b'{"x": "-1"}', "x", "number", id="a-sign"),
        pytest.param(b'{"x": ""}', "x", "number", id="no-digit"),
        pytest.param('{"x": "\u0663"}'.encode(), "x", "number", id="another-script"),
        pytest.param(b'{"x": -1}', "x", "range", id="negative"),
        pytest.param(b'{"x": "%d"}' % R, "x", "range", id="r"),
        pytest.param(b'{"x": "%s"}' % (b"9" * 78), "x", "number", id="more-digits-than-r"),
        pytest.param(b'{"x": %s}' % (b"9" * 5000), "", "json", id="thousands-of-digits"),
        pytest.param(b'{"x": %s1%s}' % (b"[" * 17, b"]" * 17), "x", "number", id="too-deep"),
        pytest.param(b'{"x": %s1%s}' % (b"[" * 10**5, b"]" * 10**5), "", "json", id="far-too-deep"),
        pytest.param(b'{"%s": 1}' % (b"x" * 257), f"'{'x' * 40}'", "name", id="a-long-name"),
        pytest.param(b'{"": 1}', "''", "name", id="no-name"),
        pytest.param(rb'{"\ud800": 1}', r"'\ud800'", "name", id="half-a-character"),
        pytest.param('{"\u00e9": 1}'.encode(), r"'\xe9'", "name", id="a-name-beyond-ascii"),
        pytest.param(b" " * (2**24 + 1), "", "size", id="too-long"),
    ],
)
def test_bad_json_is_refused(text, signal, reason):
    facts = refusal_of(lambda: witness.parse_inputs(text))

    assert (facts["refused"], facts["signal"], facts["reason"]) == ("snark.bad_inputs", signal, reason)


def test_mutants_of_inputs_are_refused_or_are_other_inputs(cube):
    chance, text = random.Random(5), json.dumps({name: str(value) for name, value in INPUTS.items()}).encode()
    outcomes = Counter[str]()
    for _ in range(300):
        bent = bytearray(text)
        bent[chance.randrange(len(bent))] = chance.choice(b'0123456789"{}[]:,- xc\x00\xff')
        try:
            inputs = witness.parse_inputs(bytes(bent))
            wires = cube.compute(inputs)
        except InvalidRecord as refused:
            outcomes[refused.code] += 1
        else:
            assert wires[1:3] == [inputs["x"] ** 3, inputs["ctx"]]
            outcomes["accepted"] += 1

    assert set(outcomes) == {"snark.bad_inputs", "accepted"}
    assert outcomes["accepted"] < 100


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_committed_module_is_what_the_compiler_makes(tools):
    assert tools.compile("cube") == CUBE
    assert tools.read("cube.r1cs") == snark.read_vector("cube.r1cs")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "inputs"), [("cube", INPUTS), ("poseidon", POSEIDON_INPUTS), ("sha256", SHA256_INPUTS)]
)
def test_witness_is_the_one_of_snarkjs(tools, name, inputs):
    program = witness.load(tools.compile(name))
    tools.write("inputs.json", json.dumps(inputs))
    assert tools.snarkjs("wtns", "calculate", f"{name}_js/{name}.wasm", "inputs.json", "theirs.wtns") == 0

    assert wtns.write(program.compute(inputs)) == tools.read("theirs.wtns")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_circuits_compute_what_they_are_named_after(tools):
    root = witness.load(tools.compile("poseidon")).compute(POSEIDON_INPUTS)[1]
    high, low = witness.load(tools.compile("sha256")).compute(SHA256_INPUTS)[1:3]

    node = POSEIDON_INPUTS["leaf"]
    for sibling, side in zip(POSEIDON_INPUTS["siblings"], POSEIDON_INPUTS["sides"], strict=True):
        node = hash_poseidon(sibling, node) if side else hash_poseidon(node, sibling)
    assert root == node
    assert hash_poseidon(1, 2) == 7853200120776062878684798364095072458815029376092732009249414926327459813530
    assert (high << 128 | low).to_bytes(32, "big") == hashlib.sha256(b"abc").digest()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_reading_65536_wires_takes_milliseconds(tools):
    source = """pragma circom 2.0.0;
        template Chain(n) {
            signal input x; signal output y; signal v[n + 1];
            v[0] <== x;
            for (var i = 0; i < n; i++) { v[i + 1] <== v[i] * v[i] + i; }
            y <== v[n];
        }
        component main = Chain(65534);"""
    tools.write("chain.circom", source)
    assert tools.circom("chain.circom", "--wasm") == 0
    program = witness.load(tools.read("chain_js/chain.wasm"))
    assert program.wire_count == 65536

    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        program.compute({"x": 3})
        seconds.append(time.perf_counter() - start)
    # Some 50 ms with the circuit's own steps; word by word through Python it was 17.9 s.
    assert min(seconds) < 0.5


def hash_poseidon(left: int, right: int) -> int:
    constants, matrix = poseidon_numbers()
    state = [0, left, right]
    for at in range(65):
        state = [(value + constants[3 * at + word]) % R for word, value in enumerate(state)]
        state = [pow(value, 5, R) if word == 0 or not 4 <= at < 61 else value for word, value in enumerate(state)]
        state = [sum(matrix[3 * to + word] * value for word, value in enumerate(state)) % R for to in range(3)]
    return state[0]


def poseidon_numbers() -> tuple[list[int], list[int]]:
    """The numbers of Poseidon for three words, 8 full and 57 partial rounds, drawn as its paper says."""
    register = [int(bit) for bit in f"{1:02b}{0:04b}{254:012b}{3:012b}{8:010b}{57:010b}" + "1" * 30]

    def step() -> int:
        register.append(register[62] ^ register[51] ^ register[38] ^ register[23] ^ register[13] ^ register[0])
        register.pop(0)
        return register[-1]

    def draw() -> int:
        bits = []
        while len(bits) < 254:
            keep, bit = step(), step()
            bits += [bit] if keep else []
        return int("".join(map(str, bits)), 2)

    for _ in range(160):
        step()
    constants = [next(number for number in iter(draw, None) if number < R) for _ in range(195)]
    points = [draw() % R for _ in range(6)]
    return constants, [pow(points[row] + points[3 + column], -1, R) for row in range(3) for column in range(3)]


def test_constants_of_poseidon_are_those_of_its_paper():
    constants, matrix = poseidon_numbers()
    numbers = [int(line.strip(" ,")) for line in (SOURCES / "poseidon_constants.circom").read_text().splitlines()
               if line.strip(" ,").isdecimal()]  # fmt: skip

    assert numbers == constants + matrix

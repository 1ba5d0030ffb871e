"""Compiling what strangers send: the same programs and refusals as at home, and an end to what has none."""

from __future__ import annotations

import pytest
import wasmtime
from support import snark
from theblock_gpu import programs
from theblock_node.core.errors import InvalidRecord

CUBE = snark.read_vector("cube.wasm")


def endless() -> bytes:
    """Loops in loops, each of which changes many variables: some kilobytes that take the compiler minutes."""
    change = "".join(f"(local.set {at} (i32.add (local.get {at}) (i32.const 1)))" for at in range(3000))
    loops, locals_ = 500, "i32 " * 3000
    text = f"(module (func (local {locals_}) {'(loop ' * loops} {change} {'(br_if 0 (local.get 0)))' * loops}))"
    return bytes(wasmtime.wat2wasm(text))


def test_a_program_is_the_one_that_is_compiled_here():
    assert programs.load(CUBE).compute({"x": 3, "ctx": 5})[:3] == [1, 27, 5]


@pytest.mark.parametrize(
    ("wasm", "reason"),
    [
        pytest.param(b"", "magic", id="empty"),
        pytest.param(CUBE[:-9], "invalid", id="cut"),
        pytest.param(bytes(wasmtime.wat2wasm("(module)")), "export", id="no-circuit"),
    ],
)
def test_refusals_come_back_by_name(wasm, reason):
    with pytest.raises(InvalidRecord) as refused:
        programs.load(wasm)
    assert (refused.value.code, refused.value.facts["reason"]) == ("snark.bad_wasm", reason)


def test_what_takes_too_long_to_compile_is_ended():
    wasm = endless()
    assert len(wasm) < 50_000

    with pytest.raises(InvalidRecord) as refused:
        programs.load(wasm, seconds_max=2)
    assert (refused.value.code, refused.value.facts) == ("snark.bad_wasm", {"reason": "compile_seconds", "max": 2})


def test_a_compiler_that_dies_is_a_refusal(monkeypatch):
    monkeypatch.setattr(programs.sys, "executable", "/bin/false")

    with pytest.raises(InvalidRecord) as refused:
        programs.load(CUBE)
    assert (refused.value.code, refused.value.facts["reason"]) == ("snark.bad_wasm", "compile")

"""The carry chains of the bottom layer, as NVRTC put them into PTX, against Python's integers.

What is emulated is the whole kernel that was compiled and no copy of it: the assembly with its operands in place, and
how words get in and out of it.
"""

from __future__ import annotations

import functools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ptx
from support.cuda import DEVICE, Call, HostCupy
from support.nvrtc import compile_source
from support.ptx import Unknown
from theblock_gpu import golden
from theblock_gpu.cuda import CudaKey
from theblock_gpu.cuda_machine import Machine
from theblock_gpu.cuda_proof import DeviceProver
from theblock_gpu.device import Device
from theblock_kernels import device
from theblock_kernels.snark import encode
from theblock_node.core.proofs import groth16, native
from theblock_node.core.proofs.field import P, R

MODULI = {"fp": P, "fr": R}
KERNELS = ("compute_fp", "compute_fr", "repeat_products")
ADD, SUB, MUL, TO, FROM = range(5)


@functools.cache
def compiled_ptx() -> str:
    compiled = compile_source(device.source(), "sm_80", device.OPTIONS, wants_image=False)
    assert compiled.ptx, compiled.log
    return compiled.ptx


@functools.cache
def emulated() -> Call:
    return ptx.load(compiled_ptx(), KERNELS)


@functools.cache
def machine_of(call: Call) -> Machine:
    return Machine(HostCupy(call), DEVICE)


def compute(call: Call, which: str, operation: int, left: list[int], right: list[int]) -> list[int]:
    machine = machine_of(call)
    out = machine.zeros(8 * len(left))
    pair = (machine.upload(encode(left)), machine.upload(encode(right)))
    machine.launch(f"compute_{which}", len(left), operation, *pair, out)
    made = machine.download(out)
    return [int.from_bytes(made[at : at + 32], "little") for at in range(0, len(made), 32)]


def elements(modulus: int) -> st.SearchStrategy[int]:
    """Any, and those whose words are all zeros or all ones, where carries run far."""
    word = st.sampled_from((0, 1, 2**32 - 1, 2**31, 2**32 - 2))
    words = st.lists(word, min_size=8, max_size=8).map(
        lambda parts: sum(each << 32 * at for at, each in enumerate(parts))
    )
    near = st.integers(0, 3).map(lambda less: (modulus - less) % modulus)
    return st.one_of(st.integers(0, modulus - 1), words.map(lambda value: value % modulus), near)


@pytest.mark.parametrize("which", MODULI)
@settings(max_examples=150, deadline=None)
@given(chance=st.data())
def test_carries_run_as_in_the_integers(which, chance):
    modulus = MODULI[which]
    left = chance.draw(st.lists(elements(modulus), min_size=1, max_size=8))
    right = chance.draw(st.lists(elements(modulus), min_size=len(left), max_size=len(left)))
    pairs, inverse = list(zip(left, right, strict=True)), pow(2, -256, modulus)

    assert compute(emulated(), which, ADD, left, right) == [(a + b) % modulus for a, b in pairs]
    assert compute(emulated(), which, SUB, left, right) == [(a - b) % modulus for a, b in pairs]
    assert compute(emulated(), which, MUL, left, right) == [a * b * inverse % modulus for a, b in pairs]
    assert compute(emulated(), which, MUL, left, left) == [a * a * inverse % modulus for a in left]
    assert compute(emulated(), which, TO, left, right) == [(a << 256) % modulus for a in left]
    assert compute(emulated(), which, FROM, left, right) == [a * inverse % modulus for a in left]


@pytest.mark.parametrize("which", MODULI)
def test_a_hundred_thousand_products_are_those_of_the_integers(which):
    modulus = MODULI[which]
    left = [pow(3, at, modulus) for at in range(1, 100_001)]
    right = [modulus - 1 - (at % 7) if at % 3 else pow(5, at, modulus) for at in range(1, 100_001)]
    inverse = pow(2, -256, modulus)
    assert compute(emulated(), which, MUL, left, right) == [
        a * b * inverse % modulus for a, b in zip(left, right, strict=True)
    ]


def test_product_has_the_specifications_vector():
    assert compute(emulated(), "fr", MUL, [0x1234], [0x5678]) == [
        0x07E1DA963523BAB5EDBB2C57BD49D07CB91B5A6A97F13363CA6F8FA885347523
    ]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("madc.lo.cc.u32 o2", "mad.lo.cc.u32 o2", id="carry-not-taken"),
        pytest.param("addc.u32 o7, o7, 0", "add.u32 o7, o7, 0", id="last-carry-not-taken"),
        pytest.param("madc.hi.cc.u32 e3", "madc.lo.cc.u32 e3", id="low-for-high"),
        pytest.param("addc.cc.u32 e3, e3, o4", "addc.cc.u32 e3, e3, o3", id="wrong-word"),
    ],
)
def test_fault_in_a_chain_is_found(right, wrong):
    text = compiled_ptx()
    assert right in text
    call = ptx.load(text.replace(right, wrong), ("compute_fp",))
    left = [pow(3, at, P) for at in range(1, 200)] + [P - 1]
    inverse = pow(2, -256, P)
    assert compute(call, "fp", MUL, left, left) != [a * a * inverse % P for a in left]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("add.cc.u32 e0, e0, o1; addc", "add.u32 e0, e0, o1; addc", id="carry-that-nothing-left"),
        pytest.param("selp.b32 ", "brx.b32 ", id="unknown-instruction"),
        pytest.param("add.cc.u32 e0, e0, o1;", "add.cc.u32 e0, e0, o1; } {", id="carry-across-blocks"),
    ],
)
def test_what_no_device_would_carry_out_as_meant_is_refused(right, wrong):
    assert right in compiled_ptx()
    with pytest.raises(Unknown):
        ptx.load(compiled_ptx().replace(right, wrong), ("compute_fp",))


def test_every_chain_lives_in_one_block_of_assembly():
    """Outside of them the compiler may put anything between two instructions."""
    outside = re.sub(r"\{ \.reg \.u32 e<8>;.*?\}", "", compiled_ptx(), flags=re.DOTALL)
    assert "addc" not in outside
    assert "subc" not in outside
    assert "madc" not in outside
    assert ".cc." not in outside


@pytest.mark.timeout(300)
def test_golden_proof_is_made_by_what_the_device_would_run():
    cupy, usable = HostCupy(ptx.load(compiled_ptx(), device.kernels())), golden.usable_key()
    prover = DeviceProver(cupy, DEVICE, native.encode_bases(usable.key), memory_bytes=2**30)
    made = CudaKey(cupy, Device(DEVICE, "", 0), prover).prove(
        golden.WITNESS, r=golden.R, s=golden.S, tell=lambda _stage, _done: None
    )
    assert groth16.encode_proof(made) == golden.PROOF

"""The signer's memory outlives every crash, and refuses whatever could contradict it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.services.chain.signer import DiskFile, RamFile, SignerRefused, SignerState, open_signer


class FakeKey:
    public_key = bytes(32)

    def sign(self, message: bytes) -> bytes:
        return b"signed " + message


class Crash(Exception):
    pass


class CrashingFile(RamFile):
    """Dies at a chosen save, before or after the new content is in place."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = ""

    def save(self, data: bytes) -> None:
        plan, self.plan = self.plan, ""
        if plan == "before":
            raise Crash
        super().save(data)
        if plan == "after":
            raise Crash


def reopen(file, *, fencing_epoch=1, was_used=False, now_slot=100, vigil_slots=10):
    return open_signer(
        FakeKey(), file, fencing_epoch=fencing_epoch, was_used=was_used, now_slot=now_slot, vigil_slots=vigil_slots
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["block", "vote"]),
        st.integers(0, 6),
        st.integers(1, 7),
        st.integers(0, 2),
        st.sampled_from(["", "", "before", "after"]),
    ),
    max_size=40,
)


@given(STEPS)
def test_no_two_contradicting_signatures_leave_whatever_crashes(steps):
    file = CrashingFile()
    signer = reopen(file)
    blocks: dict[int, set[int]] = {}
    votes: list[tuple[int, int, int]] = []
    for what, low, high, variant, plan in steps:
        file.plan = plan
        try:
            if what == "block":
                signer.sign_block(high, b"block %d" % variant)
                blocks.setdefault(high, set()).add(variant)
            else:
                signer.sign_vote(source_height=low, target_height=high, digest=b"vote %d" % variant)
                votes.append((low, high, variant))
        except SignerRefused:
            file.plan = ""
        except Crash:
            signer = reopen(file)

    assert all(len(variants) == 1 for variants in blocks.values())
    assert len({target for _, target, _ in votes}) == len(votes)
    assert not any(a[0] < b[0] and b[1] < a[1] for a in votes for b in votes)


SIGNING = """
import os, sys
from pathlib import Path
from theblock_node.services.chain.signer import DiskFile, SignerRefused, open_signer
class Key:
    public_key = bytes(32)
    def sign(self, message): return message
signer = open_signer(Key(), DiskFile(Path(sys.argv[1])), fencing_epoch=1, was_used=False, now_slot=0, vigil_slots=1)
for slot in range(1_000_000):
    try:
        print(slot, signer.sign_block(slot, os.urandom(8)).hex(), flush=True)
    except SignerRefused:
        pass
"""


def test_a_killed_process_never_signs_two_blocks_for_a_slot(tmp_path):
    signed: dict[int, set[str]] = {}
    for wanted in (1, 30, 60, 90):
        process = subprocess.Popen(
            [sys.executable, "-c", SIGNING, str(tmp_path / "sign-state.json")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = []
        while not lines or int(lines[-1].split()[0]) < wanted:
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().split("\n")[:-1]
        process.wait(10)
        process.stdout.close()
        for line in lines:
            slot, block = line.split()
            signed.setdefault(int(slot), set()).add(block)

    assert len(signed) > 60
    assert all(len(blocks) == 1 for blocks in signed.values())


@pytest.mark.parametrize(
    ("source_height", "target_height", "code"),
    [
        pytest.param(4, 8, "signer.target", id="same-target"),
        pytest.param(4, 6, "signer.target", id="lower-target"),
        pytest.param(2, 10, "signer.source", id="surrounds"),
        pytest.param(10, 10, "signer.source", id="source-is-target"),
    ],
)
def test_a_vote_is_refused(source_height, target_height, code):
    signer = reopen(RamFile())
    signer.sign_vote(source_height=4, target_height=8, digest=b"")
    with pytest.raises(SignerRefused) as refused:
        signer.sign_vote(source_height=source_height, target_height=target_height, digest=b"")
    assert refused.value.code == code


def test_a_lower_fencing_epoch_is_fenced_out_and_a_higher_one_is_kept(tmp_path):
    file = DiskFile(tmp_path / "deep" / "sign-state.json")
    reopen(file, fencing_epoch=2).sign_block(7, b"")
    reopen(file, fencing_epoch=3)

    with pytest.raises(SignerRefused) as refused:
        reopen(file, fencing_epoch=2)

    assert refused.value.code == "signer.fenced"
    assert reopen(file, fencing_epoch=3).memory.slot == 7


def test_a_memory_that_cannot_be_read_is_not_a_fresh_one(tmp_path):
    (tmp_path / "state.json").write_bytes(b"{")
    with pytest.raises(SignerRefused) as refused:
        reopen(DiskFile(tmp_path / "state.json"))
    assert refused.value.code == "signer.memory_unreadable"


def test_a_used_key_without_memory_waits_and_then_starts_above_what_it_saw():
    file = RamFile()
    signer = reopen(file, was_used=True, now_slot=100, vigil_slots=10)
    signer.saw_block(bytes(32), 90)
    signer.saw_vote(bytes(32), source_height=40, target_height=42, target_slot=88)
    signer.tick(110)
    with pytest.raises(SignerRefused) as refused:
        signer.sign_block(105, b"")
    assert refused.value.code == "signer.waiting"

    signer.tick(111)

    assert signer.state is SignerState.READY
    with pytest.raises(SignerRefused):
        signer.sign_vote(source_height=40, target_height=42, digest=b"")
    signer.sign_vote(source_height=42, target_height=44, digest=b"")


def test_a_key_that_signs_elsewhere_stays_silent_for_good():
    file = RamFile()
    signer = reopen(file, was_used=True, now_slot=100)
    signer.saw_block(bytes(32), 101)
    signer.tick(500)

    for again in (signer, reopen(file, was_used=True, now_slot=900)):
        with pytest.raises(SignerRefused) as refused:
            again.sign_block(901, b"")
        assert refused.value.code == "signer.key_in_use_elsewhere"

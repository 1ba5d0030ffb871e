"""Proof of retrievability: the asked piece under the object's root, and nothing else, answers a challenge."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theblock_node.core import codec, merkle
from theblock_node.core.errors import InvalidTx
from theblock_node.core.proofs import retrieval
from theblock_node.core.proofs.retrieval import PIECE_BYTES, Opening, Sample

N = 3
CHUNKS = 2
SHARDS = [bytes([index]) * size for index, size in enumerate((9000, 4096, 1, 8192, 4097, 5))]
IDS = [retrieval.shard_id(index % N, shard) for index, shard in enumerate(SHARDS)]
ROOT = merkle.list_root(IDS)
SAMPLE = Sample(chunk=0, slot=0, draw=5)


def verify(sample: Sample, opening: Opening, root: bytes = ROOT) -> None:
    retrieval.verify_opening(sample, opening, root, chunk_count=CHUNKS, n=N)


def answer(sample: Sample) -> Opening:
    return retrieval.open_sample(sample, SHARDS[sample.chunk * N + sample.slot], IDS, N)


@settings(max_examples=100)
@given(st.integers(0, CHUNKS - 1), st.integers(0, N - 1), st.integers(0, 2**64 - 1))
def test_the_holder_of_a_shard_answers_every_sample(chunk, slot, draw):
    sample = Sample(chunk, slot, draw)
    opening = answer(sample)

    verify(sample, opening)
    assert codec.decode(Opening, codec.encode(opening)) == opening


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"shard_bytes": 0}, "storage.por_length", id="empty-shard"),
        pytest.param({"shard_bytes": retrieval.SHARD_BYTES_MAX + 1}, "storage.por_length", id="too-large-a-shard"),
        pytest.param({"data": bytes(PIECE_BYTES)[:-1]}, "storage.por_length", id="a-byte-short"),
        pytest.param({"data": b""}, "storage.por_length", id="nothing"),
        pytest.param({"piece_path": ()}, "storage.por_path", id="no-path-of-the-piece"),
        pytest.param({"piece_path": (bytes(32),) * 34}, "storage.por_path", id="too-long-a-path"),
        pytest.param({"shard_path": ()}, "storage.por_path", id="no-path-of-the-shard"),
        pytest.param({"data": b"\7" * 808}, "storage.por_root", id="other-bytes"),
        pytest.param({"shard_bytes": 9001, "data": bytes(809)}, "storage.por_root", id="another-length"),
    ],
)
def test_an_answer_is_refused(changes, code):
    opening = answer(SAMPLE)
    assert len(opening.data) == 808  # 5 mod 3 is the last of three pieces.

    with pytest.raises(InvalidTx) as refused:
        verify(SAMPLE, replace(opening, **changes))
    assert refused.value.code == code


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(Sample(0, 0, 4), id="another-piece"),
        pytest.param(Sample(0, 1, 5), id="another-slot"),
        pytest.param(Sample(1, 0, 5), id="another-chunk"),
    ],
)
def test_an_answer_to_another_sample_is_refused(asked):
    with pytest.raises(InvalidTx):
        verify(asked, answer(SAMPLE))


def test_a_copy_of_a_shard_does_not_stand_in_another_slot():
    """Two slots with the same bytes have two names: keeping one copy answers for one of them only."""
    assert retrieval.shard_id(0, b"same") != retrieval.shard_id(1, b"same")
    with pytest.raises(InvalidTx):
        verify(SAMPLE, answer(SAMPLE), merkle.list_root([*IDS[:1], bytes(32), *IDS[2:]]))


def test_a_shards_name_commits_to_its_length():
    root = merkle.list_root([b"x"])

    assert retrieval.compute_shard_id(0, 1, root) != retrieval.compute_shard_id(0, 2, root)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**32), st.integers(1, 64))
def test_samples_follow_from_the_beacon_and_stay_inside(beacon, epoch, count):
    def draw(provider: str) -> list[Sample]:
        return retrieval.compute_samples(
            beacon, "contract", provider, epoch, chunk_count=CHUNKS, slots=[1, 2], count=count
        )

    samples = draw("one")

    assert samples == draw("one") != draw("two")
    assert len(samples) == count
    assert {sample.chunk for sample in samples} <= {0, 1}
    assert {sample.slot for sample in samples} <= {1, 2}


def test_texts_do_not_run_into_each_other():
    """Lengths are in what is hashed: ("ab", "c") draws otherwise than ("a", "bc")."""
    phases = {retrieval.compute_phase(left, right, 2**32) for left, right in (("ab", "c"), ("a", "bc"), ("", "abc"))}

    assert len(phases) == 3
    assert all(0 <= phase < 2**32 for phase in phases)


def test_an_empty_shard_has_no_pieces_and_a_full_one_as_many_as_fit():
    assert retrieval.pieces_of(b"") == []
    assert [len(piece) for piece in retrieval.pieces_of(bytes(PIECE_BYTES + 1))] == [PIECE_BYTES, 1]

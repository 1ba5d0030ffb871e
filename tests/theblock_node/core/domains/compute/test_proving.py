"""Jobs of proving: posted with their inputs, settled by a bundle whose proof holds, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support import bundles
from support.bundles import BOUND_HASH, CUBIC_HASH, inputs_of
from support.chain import Chain, key_of
from theblock_node.core import codec
from theblock_node.core.domains.compute import records as r
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import bundle as b
from theblock_node.core.proofs.bundle import Artifact, ProofBundle
from theblock_node.core.proofs.field import R

FORGE = "forge-0"
BOND = 10**6
NUMBER = (7).to_bytes(32, "little")


def make_chain(*circuits: bytes, **options: Any) -> Chain:
    """``forge`` offers units at 10, and ``bob`` has registered ``circuits``."""
    chain = Chain(funded={"forge": 10**15, "mallory": 10**15}, **options)
    chain.ok("owner", "compute.register_provider", r.RegisterProvider(FORGE, key_of("forge").public_key, BOND))
    chain.ok("owner", "compute.post_offer", r.PostOffer(FORGE, r.Lane.CONSUMER, 10, 1000, 1000))
    for circuit_hash in circuits or (BOUND_HASH,):
        chain.ok("bob", "compute.register_circuit", bundles.registration(circuit_hash))
    return chain


def job_command(*xs: int, circuit_hash: bytes = BOUND_HASH, deadline_blocks: int = 5, **changes: Any) -> r.PostJob:
    inputs = changes.pop("inputs", tuple(map(inputs_of, xs)))
    return r.PostJob(r.Lane.CONSUMER, r.SnarkWork(circuit_hash, inputs, **changes), 20, deadline_blocks)


def post(chain: Chain, *xs: int, **changes: Any) -> bytes:
    told = chain.ok("alice", "compute.post_job", job_command(*xs, **changes))
    (posted,) = [record for record in told if isinstance(record, r.JobPosted)]
    return posted.job_id


def make(chain: Chain, job_id: bytes, index: int, x: int, circuit_hash: bytes = BOUND_HASH, **changes: Any) -> Any:
    key = key_of(changes.pop("signer", "forge"))
    return bundles.make(chain.params.chain_id, job_id, index, x, key, circuit_hash, **changes)


def submit(job_id: bytes, index: int, bundle: ProofBundle) -> tuple[str, r.SubmitSlice]:
    return "compute.submit_slice", r.SubmitSlice(job_id, index, bundle)


def statuses(chain: Chain, job_id: bytes) -> list[str]:
    return [piece.status.name for piece in chain.query("compute.job", r.GetJob(job_id)).slices]


def slice_input(chain: Chain, job_id: bytes, index: int) -> bytes | None:
    found: bytes | None = chain.query("compute.slice_input", r.GetSliceInput(job_id, index)).inputs
    return found


def provider(chain: Chain) -> r.Provider:
    (row,) = chain.query("compute.providers", r.ListProviders("", 0)).providers
    assert isinstance(row, r.Provider)
    return row


def test_proof_settles_its_slice():
    chain = make_chain()
    job_id = post(chain, 3, 4)
    job = chain.query("compute.job", r.GetJob(job_id)).job
    assert (job.work, job.slice_count, job.units_per_slice) == (r.CircuitWork(BOUND_HASH), 2, 1)
    assert [slice_input(chain, job_id, index) for index in (0, 1, 2)] == [inputs_of(3), inputs_of(4), None]
    owner = chain.balance("owner")

    bundle = make(chain, job_id, 1, 4)
    told = chain.ok("forge", *submit(job_id, 1, bundle))

    assert statuses(chain, job_id) == ["ASSIGNED", "SETTLED"]
    assert chain.balance("owner") == owner + 10
    assert told == [
        r.SliceSettled(job_id, 1, FORGE, bytes(32), 10),
        r.ProofSettled(job_id, 1, FORGE, BOUND_HASH, b.fingerprint(bundle), b.statement_id(bundle), bundle.backend, 12),
    ]
    assert [slice_input(chain, job_id, index) for index in (0, 1)] == [inputs_of(3), None]
    assert chain.refused("forge", *submit(job_id, 1, bundle)) == "compute.slice_paid"
    assert chain.replay().root == chain.state.root


CHANGED = {
    "system": ({"system": 2}, "compute.proof_decode"),
    "circuit": ({"circuit_hash": CUBIC_HASH}, "compute.proof_decode"),
    "key": ({"vk_hash": bytes(32)}, "compute.proof_decode"),
    "program": ({"program_commitment": bytes(32)}, "compute.proof_decode"),
    "no-time": ({"latency_ms": 0}, "compute.proof_decode"),
    "artifacts-circuit": ({"artifact": Artifact(bytes(32), BOUND_HASH, 3)}, "compute.proof_decode"),
    "artifacts-wasm": ({"artifact": Artifact(BOUND_HASH, bytes(32), 3)}, "compute.proof_decode"),
    "no-inputs": ({"public_inputs": ()}, "compute.proof_inputs"),
    "too-many-inputs": ({"public_inputs": (NUMBER,) * 3}, "compute.proof_inputs"),
    "input-of-the-field's-size": ({"public_inputs": (R.to_bytes(32, "little"), NUMBER)}, "compute.proof_inputs"),
    "output-not-committed": ({"output_commitment": bytes(32)}, "compute.proof_inputs"),
    "another-context": ({"context": 8}, "compute.proof_ctx"),
    "points-off-the-curve": ({"proof": bytes(128)}, "compute.proof_decode"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "code"), CHANGED.values(), ids=CHANGED)
def test_bundle_is_refused_and_costs_nothing_but_the_fee(changes, code):
    chain = make_chain()
    job_id = post(chain, 3)
    before = provider(chain)

    assert chain.refused("forge", *submit(job_id, 0, make(chain, job_id, 0, 3, **changes))) == code

    assert (provider(chain), statuses(chain, job_id)) == (before, ["ASSIGNED"])
    chain.ok("forge", *submit(job_id, 0, make(chain, job_id, 0, 3)))


def test_proof_of_another_output_is_invalid():
    """All that the bundle says of itself is right; only the pairing tells."""
    chain = make_chain()
    job_id = post(chain, 3)
    other = make(chain, job_id, 0, 4)
    right = make(chain, job_id, 0, 3)
    forged = bundles.sign(replace(right, proof=other.proof), key_of("forge"))
    assert chain.refused("forge", *submit(job_id, 0, forged)) == "compute.proof_invalid"


def test_proof_serves_one_slice_of_one_job_of_one_provider():
    chain = make_chain()
    job_id, other = post(chain, 3, 3), post(chain, 3)
    bundle = make(chain, job_id, 0, 3)
    assert chain.refused("forge", *submit(job_id, 1, bundle)) == "compute.proof_ctx"
    assert chain.refused("forge", *submit(other, 0, bundle)) == "compute.proof_ctx"
    assert chain.refused("mallory", *submit(job_id, 0, bundle)) == "compute.not_assignee"
    stolen = make(chain, job_id, 0, 3, signer="mallory")
    assert chain.refused("forge", *submit(job_id, 0, stolen)) == "compute.proof_ctx"
    unsigned = replace(bundle, provider_signature=bytes(64))
    assert chain.refused("forge", *submit(job_id, 0, unsigned)) == "compute.proof_signature"
    chain.ok("owner", *submit(job_id, 0, bundle))


def test_statement_of_an_unbound_circuit_is_used_once_on_the_chain():
    chain = make_chain(CUBIC_HASH)
    job_id = post(chain, 3, 3, circuit_hash=CUBIC_HASH)
    chain.ok("forge", *submit(job_id, 0, make(chain, job_id, 0, 3, CUBIC_HASH)))
    again = make(chain, job_id, 1, 3, CUBIC_HASH)
    assert chain.refused("forge", *submit(job_id, 1, again)) == "compute.statement_used"
    chain.ok("forge", *submit(job_id, 1, make(chain, job_id, 1, 4, CUBIC_HASH)))


def test_buyer_may_say_what_each_proof_must_show():
    chain = make_chain(CUBIC_HASH)
    register = bundles.registration(ctx_index=None)
    chain.ok("bob", "compute.register_circuit", register)
    wanted = tuple(r.PublicInputs((value.to_bytes(32, "little"),)) for value in (70, 71))
    job_id = post(chain, 3, 4, public_inputs=wanted)

    swapped = make(chain, job_id, 1, 4, context=70)
    assert chain.refused("forge", *submit(job_id, 1, swapped)) == "compute.proof_inputs"
    chain.ok("forge", *submit(job_id, 1, make(chain, job_id, 1, 4, context=71)))


def public(*values: int) -> r.PublicInputs:
    return r.PublicInputs(tuple(value.to_bytes(32, "little") for value in values))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"circuit_hash": CUBIC_HASH}, "compute.circuit_unknown", id="no-circuit"),
        pytest.param({"inputs": (b"{",)}, "compute.invalid_workload", id="no-json"),
        pytest.param({"inputs": (b"[1]",)}, "compute.invalid_workload", id="no-object"),
        pytest.param({"inputs": (b'{"x": 1.5}',)}, "compute.invalid_workload", id="a-float"),
        pytest.param({"inputs": (b'{"x": "-1"}',)}, "compute.invalid_workload", id="negative"),
        pytest.param({"inputs": (b'{"x": 1, "ctx": 2}',)}, "compute.invalid_workload", id="ctx"),
        pytest.param({"inputs": (b'{"x": "%d"}' % R,)}, "compute.invalid_workload", id="too-large"),
        pytest.param({"inputs": (b"{}", b"[" * 16_000)}, "compute.invalid_workload", id="too-deep"),
        pytest.param({"inputs": (b"{}",), "public_inputs": (public(), public())}, "compute.invalid_workload",
                     id="more-public-than-slices"),
        pytest.param({"inputs": (b"{}",), "public_inputs": (public(1),)}, "compute.invalid_workload",
                     id="more-public-than-the-circuit-has"),
    ],
)  # fmt: skip
def test_work_is_refused(changes, code):
    chain = make_chain()
    assert chain.refused("alice", "compute.post_job", job_command(**{"inputs": (b"{}",), **changes})) == code


@pytest.mark.parametrize(
    "inputs", [(), (b"",), (b"{" + b" " * 2**14,), (b"{}",) * 65], ids=["none", "empty", "large", "many"]
)
def test_work_of_another_size_has_no_encoding(inputs):
    with pytest.raises(InvalidRecord, match=r"codec\.value"):
        codec.encode(job_command(inputs=inputs))


def test_output_of_the_other_kind_is_refused():
    chain = make_chain()
    job_id = post(chain, 3)
    digests = r.SubmitSlice(job_id, 0, r.HashOutput(bytes(32), ()))
    assert chain.refused("forge", "compute.submit_slice", digests) == "compute.invalid_workload"
    work = r.HashWork(r.HashAlgorithm.BLAKE3, bytes(32), 1, 40)
    chain.ok("alice", "compute.post_job", r.PostJob(r.Lane.CONSUMER, work, 20, 5))
    hashed = chain.events("compute.job_posted")[-1].job_id
    assert chain.refused("forge", *submit(hashed, 0, make(chain, hashed, 0, 3))) == "compute.invalid_workload"


def test_deprecated_circuit_takes_no_new_jobs_and_ends_those_it_has():
    chain = make_chain()
    job_id = post(chain, 3)
    chain.ok("bob", "compute.set_circuit_state", r.SetCircuitState(BOUND_HASH, r.CircuitState.DEPRECATED))
    assert chain.refused("alice", "compute.post_job", job_command(3)) == "compute.circuit_revoked"
    chain.ok("forge", *submit(job_id, 0, make(chain, job_id, 0, 3)))


def test_revoked_circuit_settles_nothing_and_costs_no_bond():
    """Else an owner could revoke what a provider has nearly proved, and be paid from the bond."""
    chain = make_chain()
    job_id = post(chain, 3)
    before, money = provider(chain), chain.balance("alice")
    chain.ok("bob", "compute.set_circuit_state", r.SetCircuitState(BOUND_HASH, r.CircuitState.REVOKED))
    assert chain.refused("forge", *submit(job_id, 0, make(chain, job_id, 0, 3))) == "compute.circuit_revoked"

    chain.run(8)

    assert statuses(chain, job_id) == ["CANCELLED"]
    assert provider(chain) == replace(before, locked=0, running=0)
    assert chain.balance("alice") == money + 20
    assert chain.events("compute.slice_released") == [r.SliceReleased(job_id, 0, FORGE, r.Reason.CIRCUIT_REVOKED, 0)]
    assert slice_input(chain, job_id, 0) is None
    assert [one.job_id for one in chain.events("compute.job_ended")] == [job_id]


def test_cancelled_slices_leave_no_inputs_behind():
    chain = make_chain()
    chain.ok("owner", "compute.withdraw_offer", r.WithdrawOffer(FORGE))
    job_id = post(chain, 3, 4)
    assert slice_input(chain, job_id, 0) is not None
    chain.ok("alice", "compute.cancel_job", r.CancelJob(job_id))
    assert [slice_input(chain, job_id, index) for index in (0, 1)] == [None, None]


def test_block_verifies_a_bounded_number_of_proofs_and_invalid_ones_count():
    chain = make_chain(params={"compute_verify_units_per_block": 8})
    job_id = post(chain, 3, 4, 5, deadline_blocks=50)
    wrong = bundles.sign(replace(make(chain, job_id, 0, 3), proof=make(chain, job_id, 1, 4).proof), key_of("forge"))
    offered = [r.SubmitSlice(job_id, 0, wrong)]
    offered += [r.SubmitSlice(job_id, index, make(chain, job_id, index, index + 3)) for index in (1, 2)]
    nonce = chain.nonce("forge")
    applied = chain.block(
        *(chain.tx("forge", "compute.submit_slice", one, nonce=nonce + at) for at, one in enumerate(offered, 1))
    )
    codes = [receipt.error_code for receipt in applied.receipts]
    assert codes == ["compute.proof_invalid", "", "compute.verify_budget"]
    assert provider(chain).violated == 0
    chain.ok("forge", "compute.submit_slice", offered[2])

"""What happens on the chain of the replay vectors: a chapter for each domain, refusals in between."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Any

from support import bundles
from support.chain import GENESIS_SECONDS, Chain, address, key_of, registration
from support.headers import START_TIME, bitcoin_chain, hash_of, mine_tbpow, real_headers
from theblock_node.core import merkle
from theblock_node.core.block import DoubleVote, Evidence
from theblock_node.core.domains import validators
from theblock_node.core.domains.accounts import Transfer
from theblock_node.core.domains.bridge import pow as work
from theblock_node.core.domains.bridge import records as bridge
from theblock_node.core.domains.compute import records as compute
from theblock_node.core.domains.compute.rules import slice_context, slice_task
from theblock_node.core.domains.energy import attestation
from theblock_node.core.domains.energy import records as energy
from theblock_node.core.domains.storage import records as storage
from theblock_node.core.domains.storage.rules import ack_message
from theblock_node.core.numeric import BLOCK
from theblock_node.core.proofs import gpu_hash, retrieval

PARAMS = {
    "por_deadline_blocks": 4,
    "por_misses_max": 1,
    "energy_settlement_expiry_blocks": 6,
    "energy_attest_window_blocks": 2,
}
"""Short deadlines, so that what follows from silence happens within a few blocks."""
GIB_PRICE = 4 * 2**20
SHARD_BYTES = 256
SHARDS = [bytes([slot]) * SHARD_BYTES for slot in range(3)]
SHARD_IDS = [retrieval.shard_id(slot, shard) for slot, shard in enumerate(SHARDS)]
SHARDS_ROOT = merkle.list_root(SHARD_IDS)
CORE_ID = b"o" * 32
METER, ROOF = "meter-1", "solar-roof"
STAKE = 10**9


def tell_attested() -> Chain:
    """A chain on which one oracle is not enough: rounds that agree, that disagree, and that fail."""
    quorum = {"energy_min_attesters": 3, "energy_settlement_quorum_ppm": 666_667, "energy_attest_window_blocks": 4}
    chain = Chain(params=quorum)
    oracles = ("o-0", "o-1", "o-2", "o-3")

    def read(oracle: str, total_wh: int, nonce: int) -> None:
        now = GENESIS_SECONDS + chain.tip.header.slot + 1
        body = attestation.reading_body(chain.params.chain_id, ROOF, METER, total_wh, now, nonce)
        proof = key_of(oracle).sign(attestation.attestation_message(body, oracle))
        reading = energy.SubmitReading(ROOF, METER, total_wh, now, nonce, oracle, 0, proof)
        chain.ok("bob", "energy.submit_reading", reading)

    def offer(oracle: str) -> energy.KeyOffer:
        public = key_of(oracle).public_key
        message = attestation.possession_message(chain.params.chain_id, ROOF, oracle, 1, public)
        return energy.KeyOffer(oracle, public, key_of(oracle).sign(message))

    keys = tuple(offer(oracle) for oracle in oracles)
    terms = energy.RegisterProvider(ROOF, 10**6, 2_000, METER, "US_CA", STAKE, 0, keys)
    chain.ok("alice", "energy.register_provider", terms)
    for oracle, total_wh in (("o-0", 500_000), ("o-3", 900_000), ("o-1", 500_300), ("o-2", 500_100)):
        read(oracle, total_wh, 1)
    read("o-0", 600_000, 2)
    chain.run(5)
    return chain


def tell() -> Chain:
    """The chain that uses every domain."""
    chain = Chain(
        funded={**{f"p-{at}": 10**12 for at in range(4)}, "forge": 10**13, "relay": 10**13},
        params=PARAMS,
    )
    for chapter in (_money, _validators, _energy, _compute, _proofs, _storage, _bridge, _endings):
        chapter(chain)
    return chain


def _money(chain: Chain) -> None:
    chain.block(
        chain.tx("alice", "accounts.transfer", Transfer(address("bob"), 5 * BLOCK, 7), tip=700, pct=37, memo=b"hello"),
        chain.tx("alice", "accounts.transfer", Transfer(address("carol"), 1, 0), nonce=2),
        chain.tx("bob", "accounts.transfer", Transfer(address("carol"), 1, 0)),
    )
    assert chain.refused("alice", "accounts.transfer", Transfer(address("bob"), 10**18, 0)) == (
        "accounts.insufficient_balance"
    )


def _validators(chain: Chain) -> None:
    bond = partial(validators.Bond, key_of("v-9").public_key, validators.Role.VALIDATOR)
    chain.ok("alice", "validators.register", registration("alice", "v-9"))
    chain.ok("alice", "validators.bond", bond(10**11))
    chain.ok("owner", "validators.unbond", validators.Unbond(key_of("v-1").public_key, validators.Role.VALIDATOR, 300))
    assert chain.refused("bob", "validators.bond", bond(1)) == "validators.not_owner"
    votes = [chain.vote("v-3", (0, bytes(32)), (4, bytes([at]) * 32)) for at in range(2)]
    chain.block(evidence=[Evidence(1, DoubleVote(*votes))])


def _energy(chain: Chain) -> None:
    def prove(key: str, oracle: str, version: int) -> bytes:
        public = key_of(key).public_key
        message = attestation.possession_message(chain.params.chain_id, ROOF, oracle, version, public)
        return key_of(key).sign(message)

    def signed(total_wh: int, nonce: int, key: str = "o-0") -> energy.SubmitReading:
        now = GENESIS_SECONDS + chain.tip.header.slot + 1
        body = attestation.reading_body(chain.params.chain_id, ROOF, METER, total_wh, now, nonce)
        proof = key_of(key).sign(attestation.attestation_message(body, "o-0"))
        return energy.SubmitReading(ROOF, METER, total_wh, now, nonce, "o-0", 0, proof)

    def read(total_wh: int, nonce: int) -> bytes:
        chain.ok("bob", "energy.submit_reading", signed(total_wh, nonce))
        found: bytes = chain.query("energy.credits", energy.ListCredits()).credits[-1].credit_id
        return found

    keys = tuple(energy.KeyOffer(name, key_of(name).public_key, prove(name, name, 1)) for name in ("o-0", "o-1"))
    terms = energy.RegisterProvider(ROOF, 10**6, 2_000, METER, "US_CA", STAKE, 0, keys)
    chain.ok("alice", "energy.register_provider", terms)
    chain.ok("alice", "energy.top_up_stake", energy.TopUpStake(ROOF, 5))
    first = read(500_000, 1)
    chain.ok("bob", "energy.settle", energy.Settle(ROOF, 200_000, first, 2_000))
    chain.ok("bob", "energy.flag_dispute", energy.FlagDispute(first, energy.DisputeKind.LOW_READING, "it was night"))
    assert chain.refused("bob", "energy.settle", energy.Settle(ROOF, 1, first, 2_000)) == "energy.credit_frozen"
    chain.ok("owner", "energy.resolve_dispute", energy.ResolveDispute(1, energy.Outcome.UPHELD, "true"))
    chain.ok("alice", "energy.update_provider", energy.UpdateProvider(ROOF, 3_000, None, None))
    said = [signed(total, 7) for total in (600_000, 700_000)]
    both = [energy.SignedReading(one.meter_address, one.total_wh, one.timestamp, one.signature) for one in said]
    chain.ok("bob", "energy.report_conflict", energy.ReportConflict(ROOF, "o-0", 7, *both))
    # One nonce ahead: the round waits for the one between, which never comes.
    chain.ok("bob", "energy.submit_reading", signed(700_000, 3))
    new, at = key_of("o-0-new").public_key, chain.height + 2
    rotation = energy.RotateProviderKey(ROOF, "o-0", new, at, 2, prove("o-0-new", "o-0", 2))
    chain.ok("alice", "energy.rotate_provider_key", rotation)
    late = signed(800_000, 4, "o-9")
    assert chain.refused("bob", "energy.submit_reading", late) == "energy.invalid_signature"
    chain.ok("alice", "energy.retire_provider_key", energy.RetireProviderKey(ROOF, "o-1"))


def _compute(chain: Chain) -> None:
    def slice_of(job_id: bytes, index: int) -> compute.SubmitSlice:
        task = slice_task(chain.query("compute.job", compute.GetJob(job_id)).job, index)
        digests = gpu_hash.compute_digests(task)
        output = compute.HashOutput(*gpu_hash.open_output(slice_context(job_id, index), digests))
        return compute.SubmitSlice(job_id, index, output)

    def post(**changes: Any) -> bytes:
        terms = {"seed": b"\5" * 32, "algorithm": gpu_hash.HashAlgorithm.BLAKE3, **changes}
        work = compute.HashWork(terms["algorithm"], terms["seed"], 2, 40)
        job = compute.PostJob(compute.Lane.CONSUMER, work, 20, 5)
        chain.ok("alice", "compute.post_job", job)
        found: bytes = chain.events("compute.job_posted")[-1].job_id
        return found

    forge = compute.RegisterProvider("forge-0", key_of("forge").public_key, 10**6)
    chain.ok("owner", "compute.register_provider", forge)
    chain.ok("owner", "compute.post_offer", compute.PostOffer("forge-0", compute.Lane.CONSUMER, 10, 100, 1000))
    job = post()
    wrong = slice_of(job, 1)
    assert chain.refused("forge", "compute.submit_slice", compute.SubmitSlice(job, 0, wrong.output))
    chain.ok("forge", "compute.submit_slice", slice_of(job, 0))
    # The second slice is never delivered: the bond pays for it.
    chain.run(8)
    assert chain.events("compute.slice_violated")
    chain.ok("owner", "compute.withdraw_offer", compute.WithdrawOffer("forge-0"))
    waiting = post(seed=b"\6" * 32, algorithm=list(gpu_hash.HashAlgorithm)[-1])
    chain.ok("alice", "compute.cancel_job", compute.CancelJob(waiting))


def _proofs(chain: Chain) -> None:
    def post(circuit_hash: bytes, *xs: int) -> bytes:
        work = compute.SnarkWork(circuit_hash, tuple(map(bundles.inputs_of, xs)))
        chain.ok("alice", "compute.post_job", compute.PostJob(compute.Lane.CONSUMER, work, 20, 5))
        found: bytes = chain.events("compute.job_posted")[-1].job_id
        return found

    def proof(job: bytes, index: int, x: int, circuit_hash: bytes = bundles.BOUND_HASH) -> compute.SubmitSlice:
        made = bundles.make(chain.params.chain_id, job, index, x, key_of("forge"), circuit_hash)
        return compute.SubmitSlice(job, index, made)

    for circuit_hash in (bundles.BOUND_HASH, bundles.CUBIC_HASH):
        chain.ok("bob", "compute.register_circuit", bundles.registration(circuit_hash))
    chain.ok("owner", "compute.post_offer", compute.PostOffer("forge-0", compute.Lane.CONSUMER, 10, 100, 1000))
    job = post(bundles.BOUND_HASH, 3, 4)
    chain.ok("forge", "compute.submit_slice", proof(job, 0, 3))
    moved = compute.SubmitSlice(job, 1, proof(job, 0, 3).output)
    assert chain.refused("forge", "compute.submit_slice", moved) == "compute.proof_ctx"
    chain.run(4)
    chain.ok("forge", "compute.submit_slice", proof(job, 1, 4))
    assert chain.events("compute.slice_late")
    unbound = post(bundles.CUBIC_HASH, 3, 3)
    chain.ok("forge", "compute.submit_slice", proof(unbound, 0, 3, bundles.CUBIC_HASH))
    again = proof(unbound, 1, 3, bundles.CUBIC_HASH)
    assert chain.refused("forge", "compute.submit_slice", again) == "compute.statement_used"
    chain.ok("forge", "compute.decline_slice", compute.DeclineSlice(post(bundles.BOUND_HASH, 5), 0))
    revoked = compute.SetCircuitState(bundles.CUBIC_HASH, compute.CircuitState.REVOKED)
    chain.ok("bob", "compute.set_circuit_state", revoked)
    chain.run(8)
    assert chain.events("compute.slice_released")
    chain.ok("owner", "compute.withdraw_offer", compute.WithdrawOffer("forge-0"))


def _storage(chain: Chain) -> None:
    def offer(name: str, *slots: int) -> storage.ReplicaOffer:
        message = ack_message(chain.params.chain_id, CORE_ID, SHARDS_ROOT, name, slots)
        return storage.ReplicaOffer(name, slots, SHARD_BYTES * len(slots), key_of(name).sign(message))

    def answer(contract_id: bytes) -> storage.AnswerChallenge:
        asked = chain.query("storage.challenges", storage.ListChallenges("p-0")).challenges[0]
        samples = retrieval.compute_samples(
            asked.beacon, contract_id.hex(), "p-0", asked.epoch, chunk_count=1, slots=(0,), count=4
        )
        openings = [retrieval.open_sample(sample, SHARDS[sample.slot], SHARD_IDS, 3) for sample in samples]
        return storage.AnswerChallenge(contract_id, "p-0", asked.epoch, tuple(openings))

    for at in range(4):
        key = key_of(f"p-{at}").public_key
        terms = storage.RegisterProvider(f"p-{at}", key, "eu-west", 64 * 2**20, GIB_PRICE, 64 * BLOCK)
        chain.ok("owner", "storage.register_provider", terms)
    offers = (offer("p-0", 0), offer("p-1", 1), offer("p-2", 2))
    anchor = storage.AnchorManifest(b"m" * 32, CORE_ID, SHARDS_ROOT, 1, 2, 1, 500, 1000, offers)
    contract = chain.ok("alice", "storage.anchor_manifest", anchor)[-1].contract_id
    while not chain.query("storage.challenges", storage.ListChallenges("p-0")).challenges:
        chain.run(1)
    chain.ok("p-0", "storage.answer_challenge", answer(contract))
    # The others stay silent until their slots are lost.
    while not chain.events("storage.shard_lost"):
        chain.run(1)
    chain.ok("owner", "storage.set_maintenance", storage.SetMaintenance("p-0", True))
    move = storage.MoveReplica(contract, "p-0", b"n" * 32, offer("p-3", 0))
    chain.ok("p-0", "storage.move_replica", move)
    chain.ok("alice", "storage.release_manifest", storage.ReleaseManifest(contract))


def _bridge(chain: Chain) -> None:
    def submit(chain_id: str, *headers: bytes) -> None:
        chain.ok("relay", "bridge.submit_headers", bridge.SubmitHeaders(chain_id, headers))

    def follow(chain_id: str, profile: str, checkpoint: bridge.Checkpoint | None) -> None:
        chain.ok("owner", "bridge.start_light_client", bridge.StartLightClient(chain_id, profile, checkpoint))

    relayer = bridge.RegisterRelayer("btc-0", key_of("relay").public_key, "wBTC", 50 * BLOCK)
    chain.ok("owner", "bridge.register_relayer", relayer)
    follow("bitcoin", "bitcoin/1", None)
    real = real_headers()
    submit("bitcoin", *real[:12])
    forged = real[13][:-1] + bytes([real[13][-1] ^ 1])
    submit("bitcoin", real[12], forged)
    own = list(islice(bitcoin_chain(), 4))
    follow("own", "bitcoin/1", bridge.Checkpoint(0, hash_of(own[0])))
    submit("own", *own)
    branch = islice(bitcoin_chain(spacing=500, start=own[1], time=START_TIME + 600), 3)
    submit("own", *branch)
    assert chain.events("bridge.reorganised")
    first = mine_tbpow("ext-1", 7, bytes(32), START_TIME)
    start = work.parse_header(work.Profile.TBPOW, "ext-1", first)
    follow("ext-1", "tbpow/1", bridge.Checkpoint(7, start.hash))
    chain.ok("relay", "bridge.submit_header", bridge.SubmitHeader("ext-1", first))


def _endings(chain: Chain) -> None:
    chain.ok("alice", "energy.deregister_provider", energy.DeregisterProvider(ROOF))
    chain.ok("owner", "compute.retire_provider", compute.RetireProvider("forge-0"))
    chain.ok("owner", "storage.retire_provider", storage.RetireProvider("p-0"))
    chain.ok("owner", "bridge.retire_relayer", bridge.RetireRelayer("btc-0"))
    chain.run(9)

"""What must hold for every schedule: nothing final is contradicted, and the chain goes on once faults stop."""

from __future__ import annotations

import pytest
from theblock_node.core import codec, tx
from theblock_node.core.address import address_of
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains import accounts, validators
from theblock_node.core.tx import FeeLane, TxPayload
from theblock_node.services.chain.service import Snapshots, TxState
from theblock_node.sim.faults import add_unguarded_twin, disturb, equivocate
from theblock_node.sim.loop import run_virtual
from theblock_node.sim.network import Disk, Network, SafetyViolation
from theblock_node.store.snapshots import SnapshotFiles
from theblock_node.transport.memory import Faults

ALICE = SigningKey.from_seed(b"a" * 32)
BOB = address_of(SigningKey.from_seed(b"b" * 32).public_key)


def transfer(nonce: int, amount: int = 5) -> bytes:
    data = codec.encode(accounts.Transfer(BOB, amount, 0))
    payload = TxPayload(
        3, 1_000_002, address_of(ALICE.public_key), nonce, FeeLane.CONSUMER, 10**7, 50_000, 100, 2000, 0, b"",
        "accounts.transfer", data,
    )  # fmt: skip
    return codec.encode(tx.sign(payload, ALICE))


@pytest.mark.parametrize("count", [1, 4])
def test_a_network_makes_a_block_a_second_and_finalizes_behind_it(count):
    async def main():
        async with Network(seed=1, count=count).running() as network:
            await network.sleep(62)
            assert min(network.heights()) >= 55
            assert min(network.final_heights()) >= min(network.heights()) - 10
            assert network.check_safety() >= 45

    run_virtual(main())


def test_the_same_seed_gives_the_same_chain():
    async def main():
        async with Network(seed=3, count=3).running() as network:
            await network.sleep(40)
            return network.members[0].node.chain.head_id

    assert run_virtual(main()) == run_virtual(main())


def test_a_transaction_reaches_every_state_through_whoever_took_it():
    async def main():
        sender = address_of(ALICE.public_key)
        async with Network(seed=2, count=4, funded=(sender,)).running() as network:
            await network.sleep(5)
            service = network.members[2].node.service
            ids = [service.submit(transfer(nonce)) for nonce in (1, 2, 3)]
            assert service.pending_nonce(sender) == 3
            assert service.status(ids[0]).state is TxState.PENDING
            await network.wait(lambda: service.status(ids[2]).final, limit_s=30)
            for member in network.members:
                assert accounts.get_balance(member.node.chain.state, BOB) == 15
                assert len(member.node.pool) == 0

    run_virtual(main())


def test_a_minority_stops_and_joins_again_after_the_partition():
    async def main():
        async with Network(seed=4, count=4).running() as network:
            await network.sleep(20)
            network.net.cut(["host-0"])
            await network.sleep(60)
            alone, *others = network.members
            assert alone.node.chain.final.height < others[0].node.chain.final.height
            network.net.heal()
            await network.wait(lambda: min(network.final_heights()) >= 60, limit_s=60)
            network.check_safety()

    run_virtual(main())


def test_two_halves_finalize_nothing_and_agree_afterwards():
    async def main():
        async with Network(seed=5, count=4).running() as network:
            await network.sleep(20)
            network.net.cut(["host-0", "host-1"], ["host-2", "host-3"])
            await network.sleep(5)
            before = max(network.final_heights())
            await network.sleep(40)
            assert max(network.final_heights()) <= before + 4
            network.net.heal()
            goal = max(network.heights())
            await network.wait(lambda: min(network.final_heights()) >= goal, limit_s=90)
            network.check_safety()

    run_virtual(main())


@pytest.mark.parametrize("seed", range(6))
def test_safety_and_liveness_under_faults_from_a_seed(seed):
    async def main():
        faults = Faults(latency_ms=(1, 250), loss_ppm=30_000)
        async with Network(seed=seed, count=4, faults=faults).running() as network:
            await disturb(network, seconds=120)
            network.check_safety()
            goal = max(network.heights()) + 8
            await network.wait(lambda: min(network.final_heights()) >= goal, limit_s=180)
            network.check_safety()

    run_virtual(main())


def test_a_crashed_node_goes_on_from_its_disk():
    async def main():
        async with Network(seed=6, count=4).running() as network:
            await network.sleep(20)
            victim = network.members[1]
            height, final = victim.node.chain.head.height, victim.node.chain.final_id
            await network.crash(victim)
            network.start(victim)
            assert victim.node.chain.head.height == height
            assert victim.node.chain.final_id == final
            await network.wait(lambda: min(network.final_heights()) >= 40, limit_s=60)

    run_virtual(main())


def test_a_node_far_behind_starts_at_a_snapshot_that_the_votes_certify(tmp_path):
    async def aside(write):
        write()

    async def main():
        network = Network(seed=9, count=4)
        network.snapshots = lambda member: Snapshots(SnapshotFiles(tmp_path / member.host), 16, 30, aside)
        late = network.members[3]
        async with network.running():
            await network.crash(late)
            await network.sleep(100)
            late.disk = Disk()
            network.start(late)
            await network.wait(lambda: min(network.final_heights()) >= 110, limit_s=60)
            assert late.node.chain.store.base_height() >= 64
            assert late.node.chain.state.root == late.node.chain.head.state_root
            network.check_safety()

    run_virtual(main())


def test_an_equivocator_is_slashed_and_put_out():
    async def main():
        network = Network(seed=7, count=4)
        guilty = network.members[2]
        network.prepare = lambda member: equivocate(member.node, member.key) if member is guilty else None
        async with network.running():
            honest = network.members[0].node
            await network.wait(
                lambda: honest.chain.state.get(validators.STAKES, guilty.key.public_key).tombstoned, limit_s=60
            )
            await network.sleep(30)
            network.check_safety()
            assert len(honest.chain.state.items(validators.EVIDENCE)) >= 1
            assert validators.bonded(honest.chain.state, guilty.key.public_key, validators.Role.VALIDATOR) < 10**12
            goal = honest.chain.head.height
            await network.wait(lambda: honest.chain.final.height >= goal, limit_s=60)

    run_virtual(main())


def test_the_checker_finds_validators_without_a_double_sign_guard():
    """Planted: two of four keys run twice, their signers unaware of each other, on both sides of a cut."""

    async def main():
        network = Network(seed=8, count=4)
        twins = [add_unguarded_twin(network, network.members[number]) for number in (2, 3)]
        network.net.cut(["host-0", "host-2", "host-3"], ["host-1", *(twin.host for twin in twins)])
        async with network.running():
            await network.sleep(60)
            with pytest.raises(SafetyViolation):
                network.check_safety()

    run_virtual(main())

"""Faults to plant: what a broken or dishonest validator does, and what the network does to honest ones."""

from __future__ import annotations

from dataclasses import replace

from theblock_node.core import codec
from theblock_node.core.block import Block, decode_block
from theblock_node.core.crypto import SigningKey
from theblock_node.roles.assembly import ValidatorNode
from theblock_node.sim.network import Disk, Member, Network


def equivocate(node: ValidatorNode, key: SigningKey) -> None:
    """From now on publish two blocks for each slot of ours, the second signed behind the signer's back."""
    publish = node.gossip.publish_block

    def publish_both(data: bytes, block_id: bytes, height: int) -> None:
        publish(data, block_id, height)
        block = decode_block(data, size_max=2**24)
        header = replace(block.header, timestamp_ms=block.header.timestamp_ms + 1)
        twin = Block(header, block.body, key.sign(Block(header, block.body, None).id))
        publish(codec.encode(twin), twin.id, height)

    node.gossip.publish_block = publish_both  # type: ignore[method-assign]


def add_unguarded_twin(network: Network, of: Member) -> Member:
    """A second process with the key of another, whose signer knows nothing of what the first signed."""
    return network.add(Member(f"{of.host}-twin", of.key, Disk()))


async def disturb(network: Network, *, seconds: int) -> None:
    """Partitions, crashes and restarts at random for so long; everybody runs and reaches everybody at the end."""
    chance = network.chance
    hosts = [member.host for member in network.members]
    for _ in range(seconds // 5):
        match chance.randrange(5):
            case 0:
                split = chance.randint(1, len(hosts) - 1)
                mixed = chance.sample(hosts, len(hosts))
                network.net.cut(mixed[:split], mixed[split:])
            case 1:
                network.net.heal()
            case 2 | 3:
                running = [member for member in network.members if member.task is not None]
                if running:
                    await network.crash(chance.choice(running))
            case _:
                for member in network.members:
                    if member.task is None:
                        network.start(member)
        await network.sleep(5)
    network.net.heal()
    for member in network.members:
        if member.task is None:
            network.start(member)

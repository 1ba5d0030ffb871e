"""`tb-cli`: everything that people do with a network from a shell."""

from __future__ import annotations

import click

from theblock_node.cli import (
    accounts,
    bridge,
    chain,
    completion,
    compute,
    energy,
    events,
    explorer,
    keys,
    node,
    sim,
    snark,
    storage,
    tx,
)
from theblock_node.cli.frame import Root, network_options


@click.group(cls=Root, params=network_options(), context_settings={"max_content_width": 110}, no_args_is_help=True)
@click.version_option(package_name="theblock", prog_name="tb-cli")
def cli() -> None:
    """Ask a network of theblock, act on its chain, and look after its members.

    Exit codes: 0 done, 1 refused by the chain or a member, 2 used wrongly, 3 nobody answered in time.
    """


for command in (
    accounts.accounts,
    bridge.bridge,
    chain.blocks,
    chain.params,
    chain.proof,
    chain.query,
    chain.status,
    completion.completion,
    compute.compute,
    energy.energy,
    events.events,
    explorer.explorer,
    keys.keys,
    node.node,
    sim.sim,
    snark.snark,
    storage.storage,
    tx.tx,
):
    cli.add_command(command)


def main() -> None:
    """The program `tb-cli`; ends the process."""
    cli.main(prog_name="tb-cli")

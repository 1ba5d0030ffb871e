"""`tb-cli sim`: a network in one process, under faults from a seed."""

from __future__ import annotations

from dataclasses import asdict

import click

from theblock_node.cli import failures
from theblock_node.cli.app import App
from theblock_node.cli.frame import Leaf


@click.command(cls=Leaf, asks=False)
@click.option("--seed", type=click.IntRange(0), required=True, help="The same seed gives the same run.")
@click.option("--members", type=click.IntRange(4, 16), default=4, show_default=True, help="Validators.")
@click.option("--seconds", type=click.IntRange(1, 3600), default=120, show_default=True, help="Under faults.")
@click.pass_obj
def sim(app: App, seed: int, members: int, seconds: int) -> None:
    """Run a network here under random faults, and check that nothing final is contradicted."""
    from theblock_node.sim import scenario
    from theblock_node.sim.network import SafetyViolation

    scenario.set_up_logs()
    try:
        report = scenario.run(seed, members=members, seconds=seconds)
    except SafetyViolation as found:
        app.note(f"seed {seed}: 1 violation: {found}; run it again with the same seed to look into it")
        click.get_current_context().exit(failures.EXIT_REFUSED)
    except TimeoutError as stuck:
        app.note(f"seed {seed}: does not go on after the faults: {stuck}; run it again with the same seed")
        click.get_current_context().exit(failures.EXIT_REFUSED)
    app.show({**asdict(report), "recovery_s": round(report.recovery_s, 1), "violations": 0})

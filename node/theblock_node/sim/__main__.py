"""`python -m theblock_node.sim --seed N`: a whole network in one process, under faults from a seed.

Prints what happened; ends with 1 where two final blocks contradict each other, or the network does not go on.
"""

from __future__ import annotations

import argparse
import logging
import sys

from theblock_node.sim import scenario
from theblock_node.sim.network import SafetyViolation


def main() -> int:
    parser = argparse.ArgumentParser(prog="theblock_node.sim", description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="the same seed gives the same run")
    parser.add_argument("--members", type=int, default=scenario.MEMBERS_MIN, help="validators; 4")
    parser.add_argument("--seconds", type=int, default=120, help="of the network's time under faults; 120")
    parser.add_argument("--plant", action="store_true", help="plant keys that run twice: a violation must be found")
    parser.add_argument("--verbose", action="store_true", help="show what the members log")
    given = parser.parse_args()
    scenario.set_up_logs(logging.DEBUG if given.verbose else logging.ERROR)
    if not scenario.MEMBERS_MIN <= given.members <= scenario.MEMBERS_MAX:
        parser.error(f"--members is between {scenario.MEMBERS_MIN} and {scenario.MEMBERS_MAX}")
    if not 0 < given.seconds <= scenario.SECONDS_MAX:
        parser.error(f"--seconds is between 1 and {scenario.SECONDS_MAX}")
    try:
        if given.plant:
            scenario.run_planted(given.seed)
            print("the planted violation was not found", file=sys.stderr)
            return 1
        print(describe(scenario.run(given.seed, members=given.members, seconds=given.seconds)))
    except SafetyViolation as found:
        print(f"seed {given.seed}: 1 violation: {found}", file=sys.stderr)
        return 1
    except TimeoutError as stuck:
        print(f"seed {given.seed}: does not go on after the faults: {stuck}", file=sys.stderr)
        return 1
    return 0


def describe(report: scenario.Report) -> str:
    """A run for people."""
    return "\n".join(
        [
            f"seed {report.seed}: {report.members} validators, {report.seconds} s under {report.faults} faults",
            f"heights {list(report.heights)}, final {list(report.final_heights)}, {report.transfers} transfers",
            f"went on {report.recovery_s:.1f} s after the faults; compared up to height {report.compared}",
            "0 violations",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())

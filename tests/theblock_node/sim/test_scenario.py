"""A run from a seed: repeatable, and it finds what is planted."""

from __future__ import annotations

import subprocess
import sys

import pytest
from theblock_node.sim import scenario
from theblock_node.sim.network import SafetyViolation


def test_a_run_reports_what_happened_and_is_the_same_again():
    report = scenario.run(11, seconds=40)

    assert (report.members, report.seconds, report.faults, report.transfers) == (4, 40, 8, 2)
    assert min(report.final_heights) >= scenario.AHEAD
    assert report.compared >= min(report.final_heights)
    assert scenario.run(11, seconds=40) == report
    assert scenario.run(12, seconds=40) != report


def test_a_planted_violation_is_found():
    with pytest.raises(SafetyViolation):
        scenario.run_planted(8)


@pytest.mark.parametrize(
    ("arguments", "code", "stream", "text"),
    [
        (["--seed", "3", "--seconds", "20"], 0, "stdout", "0 violations"),
        (["--seed", "3", "--plant"], 1, "stderr", "1 violation: height"),
        (["--seed", "3", "--members", "3"], 2, "stderr", "--members"),
        (["--seed", "3", "--seconds", "0"], 2, "stderr", "--seconds"),
        ([], 2, "stderr", "--seed"),
    ],
)
def test_the_program_ends_with_what_it_found(arguments, code, stream, text):
    command = [sys.executable, "-m", "theblock_node.sim", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == code, done.stderr
    assert text in getattr(done, stream)

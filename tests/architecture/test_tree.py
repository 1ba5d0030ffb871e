"""The tree's own rules: names of tables, the standard library's `operator`, what is generated."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from theblock_node.core import codec
from theblock_node.core.domains import REGISTRY

ROOT = Path(__file__).resolve().parents[2]
NAMESPACES = {
    "accounts": {"accounts", "chain"},
    "chain": {"chain", "governance"},
    "bridge": {"bridge"},
    "compute": {"compute_market"},
    "energy": {"energy_market"},
    "escrow": {"escrow"},
    "storage": {"storage_market"},
    "validators": {"validators", "chain"},
}
"""By domain: the first part of its tables' names, as the specifications write them."""


def test_tables_are_named_by_the_namespaces_of_their_specifications():
    found = {domain.name: {table.name.partition("/")[0] for table in domain.tables} for domain in REGISTRY.domains}

    for name, namespaces in found.items():
        assert namespaces <= NAMESPACES[name], name
    for name in REGISTRY.tables:
        assert re.fullmatch(r"[a-z_]+/[a-z_0-9]+", name), name


def test_rows_say_their_version_first():
    """What lives long starts with a version, so that it can change and still be read."""
    for name, table in REGISTRY.tables.items():
        assert codec.kind_of(table.value_type).parts[0][0] == "version", name


@pytest.mark.parametrize("folder", ["", "operator", "gpu", "node"])
def test_the_folder_operator_does_not_hide_the_standard_librarys(folder):
    """A folder with a package of that name in front of the path would break half of the standard library."""
    done = subprocess.run(
        [sys.executable, "-c", "import operator, collections; print(operator.add(1, 2))"],
        cwd=ROOT / folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "gpu" / "__init__.py").exists()


def test_what_is_generated_is_what_its_sources_make():
    done = subprocess.run(
        [sys.executable, "-m", "tools.generate", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=110
    )

    assert done.returncode == 0, done.stderr

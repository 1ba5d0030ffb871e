"""Key files: only their owner reads them, nothing overwrites them, nothing shows what is in them."""

from __future__ import annotations

import stat

import pytest
from theblock_node.cli import keyfiles
from theblock_node.cli.finding import Unusable

SEED = bytes(range(32))


def test_a_written_seed_is_read_back_and_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "a.key"
    keyfiles.write_secret(path, SEED)

    assert keyfiles.read_seed(str(path)) == SEED
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not keyfiles.is_open_to_others(path)


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "a.key"
    keyfiles.write_secret(path, SEED)
    with pytest.raises(Unusable, match="never overwritten"):
        keyfiles.write_secret(path, bytes(32))
    assert keyfiles.read_seed(str(path)) == SEED


@pytest.mark.parametrize(
    "data",
    [b"", b"xyz", SEED.hex().encode()[:-2], SEED.hex().encode() + b"00", SEED, b"\xff" * 64],
    ids=["empty", "no-hex", "short", "long", "raw", "no-ascii"],
)
def test_what_is_no_key_is_refused_without_showing_it(tmp_path, data):
    path = tmp_path / "a.key"
    path.write_bytes(data)
    with pytest.raises(Unusable) as refused:
        keyfiles.read_seed(str(path))
    assert SEED.hex()[:16] not in f"{refused.value} {refused.value.todo}"


def test_a_key_that_others_may_read_is_noticed(tmp_path):
    path = tmp_path / "a.key"
    keyfiles.write_secret(path, SEED)
    path.chmod(0o640)
    assert keyfiles.is_open_to_others(path)


def test_a_missing_key_file_says_how_to_make_one():
    with pytest.raises(Unusable) as refused:
        keyfiles.read_seed("/nowhere/at/all")
    assert "keys generate" in refused.value.todo

"""Bytes that others rely on: pinned in `tests/vectors`, and read and written alike by a Borsh that is not ours."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support import interop, vectors
from theblock_node.core import codec
from theblock_node.core.crypto import blake3

ROWS = json.loads(vectors.RECORDS.read_text())


def test_every_record_has_its_vectors_and_they_are_what_the_code_makes():
    """After a change on purpose: `python -m support.vectors` in `tests/`."""
    assert vectors.RECORDS.read_text() == vectors.render_records()


def test_every_vector_is_decoded_and_encoded_again():
    types = vectors.record_types()
    for row in ROWS:
        data = bytes.fromhex(row["hex"])
        value = codec.decode_as(types[row["name"]], data)

        assert codec.encode_as(types[row["name"]], value) == data, row["name"]
        assert value == getattr(vectors, row["which"])(types[row["name"]])
        assert blake3(data).hex() == row["blake3"]


@pytest.fixture(scope="module")
def borsh_js() -> Path:
    """Borsh for JavaScript as pinned, installed under build/."""
    return interop.install()


def test_borsh_for_javascript_reads_the_same_values_and_writes_the_same_bytes(borsh_js):
    kinds = {name: codec.kind_of(annotation) for name, annotation in vectors.record_types().items()}
    asked = [{"schema": vectors.borsh_schema(kinds[row["name"]]), "hex": row["hex"]} for row in ROWS]
    done = subprocess.run(
        ["node", str(interop.INTEROP / "borsh.cjs")],
        input=json.dumps(asked),
        env={**os.environ, "NODE_PATH": str(borsh_js / "node_modules")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = json.loads(done.stdout)

    assert len(answers) == len(ROWS) > 100
    types = vectors.record_types()
    for row, answer in zip(ROWS, answers, strict=True):
        value = getattr(vectors, row["which"])(types[row["name"]])
        assert answer["hex"] == row["hex"], row["name"]
        assert answer["value"] == vectors.plain(kinds[row["name"]], value), row["name"]

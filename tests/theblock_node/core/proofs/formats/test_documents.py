"""JSON documents have one meaning, and it is refused when it is doubtful."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.snark import cubic_key, cubic_proof
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs.field import P, R
from theblock_node.core.proofs.formats import documents

PROOF = documents.render_proof(cubic_proof())
KEY = documents.render_verifying_key(cubic_key().verifying)


def changed(text: str, *path: str | int, value: object) -> str:
    """The document with ``value`` at ``path``; ... takes it away."""
    document = json.loads(text)
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return json.dumps(document)


def code_of(parse, text) -> str:
    with pytest.raises(InvalidRecord) as refusal:
        parse(text)
    return refusal.value.code


def test_documents_come_back():
    assert documents.parse_proof(PROOF) == cubic_proof()
    assert documents.parse_proof(PROOF.encode()) == cubic_proof()
    assert documents.parse_verifying_key(KEY) == cubic_key().verifying


def test_pairing_in_a_key_is_ignored():
    text = changed(KEY, "vk_alphabeta_12", value=[["what", "ever"]])
    assert documents.parse_verifying_key(text) == cubic_key().verifying


@given(st.lists(st.integers(0, R - 1), max_size=5))
def test_public_inputs_come_back(inputs):
    assert documents.parse_public(documents.render_public(inputs)) == tuple(inputs)


X = str(cubic_proof().a[0])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("", "snark.document_json", id="empty"),
        pytest.param(PROOF[:-1], "snark.document_json", id="cut"),
        pytest.param(PROOF + "x", "snark.document_json", id="trailing"),
        pytest.param(b"\xff\xfe", "snark.document_json", id="no-text"),
        pytest.param("[" * 100_000, "snark.document_json", id="deep"),
        pytest.param("1" * 10_000, "snark.document_json", id="long-number"),
        pytest.param("NaN", "snark.document_json", id="not-a-number"),
        pytest.param('{"pi_a": 1.5}', "snark.document_json", id="fraction"),
        pytest.param(PROOF[:-1] + ', "curve": "bn128"}', "snark.document_json", id="field-twice"),
        pytest.param(" " * (documents.BYTES_MAX + 1), "snark.document_size", id="large"),
        pytest.param("[]", "snark.document_shape", id="list"),
        pytest.param("null", "snark.document_shape", id="null"),
        pytest.param("{}", "snark.document_field", id="no-fields"),
        pytest.param(changed(PROOF, "pi_c", value=...), "snark.document_field", id="field-missing"),
        pytest.param(changed(PROOF, "extra", value=1), "snark.document_field", id="field-unknown"),
        pytest.param(changed(PROOF, "protocol", value="plonk"), "snark.document_protocol", id="protocol"),
        pytest.param(changed(PROOF, "curve", value="bls12381"), "snark.document_protocol", id="curve"),
        pytest.param(changed(PROOF, "pi_a", value="1"), "snark.document_shape", id="point-no-list"),
        pytest.param(changed(PROOF, "pi_a", value=["1", "2"]), "snark.document_shape", id="point-short"),
        pytest.param(changed(PROOF, "pi_a", 2, value="2"), "snark.document_projective", id="z-two"),
        pytest.param(changed(PROOF, "pi_a", 2, value="0"), "snark.document_projective", id="infinity"),
        pytest.param(changed(PROOF, "pi_a", 2, value=1), "snark.document_projective", id="z-number"),
        pytest.param(changed(PROOF, "pi_b", 2, value=["0", "1"]), "snark.document_projective", id="z-swapped"),
        pytest.param(changed(PROOF, "pi_b", 0, value="1"), "snark.document_shape", id="coordinate-no-pair"),
        pytest.param(changed(PROOF, "pi_a", 0, value=1), "snark.document_number", id="bare-number"),
        pytest.param(changed(PROOF, "pi_a", 0, value=int(X)), "snark.document_number", id="large-bare-number"),
        pytest.param(changed(PROOF, "pi_a", 0, value="0" + X), "snark.document_number", id="leading-zero"),
        pytest.param(changed(PROOF, "pi_a", 0, value="+" + X), "snark.document_number", id="plus"),
        pytest.param(changed(PROOF, "pi_a", 0, value="-" + X), "snark.document_number", id="minus"),
        pytest.param(changed(PROOF, "pi_a", 0, value=" " + X), "snark.document_number", id="space"),
        pytest.param(changed(PROOF, "pi_a", 0, value=X + "\n"), "snark.document_number", id="newline"),
        pytest.param(changed(PROOF, "pi_a", 0, value=hex(int(X))), "snark.document_number", id="hexadecimal"),
        pytest.param(changed(PROOF, "pi_a", 0, value="１"), "snark.document_number", id="other-digits"),
        pytest.param(changed(PROOF, "pi_a", 0, value=""), "snark.document_number", id="empty-number"),
        pytest.param(changed(PROOF, "pi_a", 0, value=None), "snark.document_number", id="null-number"),
        pytest.param(changed(PROOF, "pi_a", 0, value="9" * 78), "snark.document_number", id="too-many-digits"),
        pytest.param(changed(PROOF, "pi_a", 0, value="9" * 77), "snark.document_range", id="too-large"),
        pytest.param(changed(PROOF, "pi_a", 0, value=str(int(X) + P)), "snark.document_range", id="plus-p"),
        pytest.param(changed(PROOF, "pi_a", 1, value="1"), "snark.not_on_curve", id="off-curve"),
        pytest.param(changed(PROOF, "pi_b", 0, 0, value="1"), "snark.not_on_curve", id="b-off-curve"),
    ],
)
def test_proof_is_refused(text, code):
    assert code_of(documents.parse_proof, text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(changed(KEY, "IC", value=...), "snark.document_field", id="no-ic"),
        pytest.param(changed(KEY, "IC", value={}), "snark.document_shape", id="ic-no-list"),
        pytest.param(changed(KEY, "IC", value=[]), "snark.key_public_count", id="ic-empty"),
        pytest.param(changed(KEY, "nPublic", value=2), "snark.key_public_count", id="count-too-large"),
        pytest.param(changed(KEY, "nPublic", value=-1), "snark.document_shape", id="count-negative"),
        pytest.param(changed(KEY, "nPublic", value=True), "snark.document_shape", id="count-a-boolean"),
        pytest.param(changed(KEY, "nPublic", value="1"), "snark.document_shape", id="count-a-string"),
        pytest.param(changed(KEY, "nPublic", value=10**6), "snark.document_shape", id="count-huge"),
        pytest.param(changed(KEY, "IC", 1, 0, value="5"), "snark.not_on_curve", id="ic-off-curve"),
        pytest.param(changed(KEY, "vk_delta_2", 0, 1, value="5"), "snark.not_on_curve", id="delta-off-curve"),
        pytest.param(changed(KEY, "vk_alpha_1", 0, value=str(P)), "snark.document_range", id="alpha-range"),
        pytest.param(changed(KEY, "unknown", value=0), "snark.document_field", id="unknown"),
    ],
)
def test_key_is_refused(text, code):
    assert code_of(documents.parse_verifying_key, text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("{}", "snark.document_shape", id="object"),
        pytest.param("[35]", "snark.document_number", id="bare-number"),
        pytest.param(f'["{R}"]', "snark.document_range", id="r"),
        pytest.param(f'["{35 + R}"]', "snark.document_range", id="other-encoding"),
        pytest.param('["035"]', "snark.document_number", id="leading-zero"),
        pytest.param('[["35"]]', "snark.document_number", id="nested"),
        pytest.param("[" + ",".join(['"1"'] * 5000) + "]", "snark.document_shape", id="too-many"),
    ],
)
def test_public_inputs_are_refused(text, code):
    assert code_of(documents.parse_public, text) == code


def test_infinity_is_never_written():
    with pytest.raises(AssertionError):
        documents.render_proof(replace(cubic_proof(), a=None))

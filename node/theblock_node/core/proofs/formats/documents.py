"""The JSON documents of snarkjs: proofs, verifying keys and public inputs.

Every number is a decimal string in its one shortest form and below its modulus, so that a document has one meaning
and a meaning one document. Points are projective with the last coordinate one; infinity has no place in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs.curve import G1, G2, G1Point, G2Point
from theblock_node.core.proofs.field import P, R
from theblock_node.core.proofs.groth16 import Proof
from theblock_node.core.proofs.keys import PUBLIC_COUNT_MAX, VerifyingKey
from theblock_node.core.proofs.tower import Fp2

Json = Any
"""A foreign document."""
PROTOCOL = "groth16"
CURVE = "bn128"
BYTES_MAX = 2**20
_PROOF_FIELDS = {"pi_a", "pi_b", "pi_c", "protocol", "curve"}
_KEY_POINTS = ("vk_alpha_1", "vk_beta_2", "vk_gamma_2", "vk_delta_2")
_KEY_FIELDS = {"protocol", "curve", "nPublic", "IC", *_KEY_POINTS}
_KEY_IGNORED = {"vk_alphabeta_12"}
"""The pairing of alpha and beta: libraries differ in its form, and it follows from the rest."""
_NUMBER = re.compile("0|[1-9][0-9]{0,76}")


def parse_proof(text: str | bytes) -> Proof:
    """The proof in a `proof.json`; whether it shows anything, `groth16.verify` says."""
    document = _parse_object(text, "proof", _PROOF_FIELDS, set())
    return Proof(
        _parse_g1(document["pi_a"], "pi_a"), _parse_g2(document["pi_b"], "pi_b"), _parse_g1(document["pi_c"], "pi_c")
    )


def render_proof(proof: Proof) -> str:
    return _render(
        {
            "pi_a": _render_g1(proof.a),
            "pi_b": _render_g2(proof.b),
            "pi_c": _render_g1(proof.c),
            "protocol": PROTOCOL,
            "curve": CURVE,
        }
    )


def parse_verifying_key(text: str | bytes) -> VerifyingKey:
    """The key in a `verification_key.json`; `keys.check_verifying_key` says whether it may be used."""
    document = _parse_object(text, "key", _KEY_FIELDS, _KEY_IGNORED)
    count, ic = document["nPublic"], document["IC"]
    if type(count) is not int or not isinstance(ic, list) or not 0 <= count <= PUBLIC_COUNT_MAX:
        raise InvalidRecord("snark.document_shape", what="nPublic")
    if len(ic) != count + 1:
        raise InvalidRecord("snark.key_public_count", key=len(ic) - 1, circuit=count)
    beta, gamma, delta = (_parse_g2(document[what], what) for what in _KEY_POINTS[1:])
    points = tuple(_parse_g1(point, f"IC[{at}]") for at, point in enumerate(ic))
    return VerifyingKey(_parse_g1(document["vk_alpha_1"], "vk_alpha_1"), beta, gamma, delta, points)


def render_verifying_key(key: VerifyingKey) -> str:
    return _render(
        {
            "protocol": PROTOCOL,
            "curve": CURVE,
            "nPublic": key.public_count,
            "vk_alpha_1": _render_g1(key.alpha),
            "vk_beta_2": _render_g2(key.beta),
            "vk_gamma_2": _render_g2(key.gamma),
            "vk_delta_2": _render_g2(key.delta),
            "IC": [_render_g1(point) for point in key.ic],
        }
    )


def parse_public(text: str | bytes) -> tuple[int, ...]:
    """The inputs in a `public.json`."""
    document = _load(text, "public")
    if not isinstance(document, list) or len(document) > PUBLIC_COUNT_MAX:
        raise InvalidRecord("snark.document_shape", what="public")
    return tuple(_parse_number(value, R, f"public[{at}]") for at, value in enumerate(document))


def render_public(inputs: Sequence[int]) -> str:
    return _render([str(value) for value in inputs])


def _load(text: str | bytes, what: str) -> Json:
    if len(text) > BYTES_MAX:
        raise InvalidRecord("snark.document_size", what=what, size=len(text))
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=_unique, parse_float=_refuse_number, parse_constant=_refuse_number)
    except (ValueError, RecursionError) as error:
        raise InvalidRecord("snark.document_json", what=what) from error


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands twice")
    return found


def _refuse_number(number: str) -> NoReturn:
    raise ValueError(f"{number[:20]} is no whole number")


def _parse_object(text: str | bytes, what: str, fields: set[str], ignored: set[str]) -> dict[str, Json]:
    document = _load(text, what)
    if not isinstance(document, dict):
        raise InvalidRecord("snark.document_shape", what=what)
    if missing := fields - document.keys():
        raise InvalidRecord("snark.document_field", what=what, missing=min(missing))
    if unknown := document.keys() - fields - ignored:
        raise InvalidRecord("snark.document_field", what=what, unknown=min(unknown)[:40])
    if document["protocol"] != PROTOCOL or document["curve"] != CURVE:
        raise InvalidRecord("snark.document_protocol", what=what)
    return document


def _parse_number(value: Json, modulus: int, what: str) -> int:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise InvalidRecord("snark.document_number", what=what)
    number = int(value)
    if number >= modulus:
        raise InvalidRecord("snark.document_range", what=what)
    return number


def _parse_list(value: Json, length: int, what: str) -> list[Json]:
    if not isinstance(value, list) or len(value) != length:
        raise InvalidRecord("snark.document_shape", what=what)
    return value


def _parse_fp2(value: Json, what: str) -> Fp2:
    real, imaginary = _parse_list(value, 2, what)
    return _parse_number(real, P, what), _parse_number(imaginary, P, what)


def _parse_g1(value: Json, what: str) -> G1Point:
    x, y, z = _parse_list(value, 3, what)
    if z != "1":
        raise InvalidRecord("snark.document_projective", what=what)
    point = _parse_number(x, P, what), _parse_number(y, P, what)
    if not G1.is_on_curve(point):
        raise InvalidRecord("snark.not_on_curve", what=what)
    return point


def _parse_g2(value: Json, what: str) -> G2Point:
    x, y, z = _parse_list(value, 3, what)
    if z != ["1", "0"]:
        raise InvalidRecord("snark.document_projective", what=what)
    point = _parse_fp2(x, what), _parse_fp2(y, what)
    if not G2.is_on_curve(point):
        raise InvalidRecord("snark.not_on_curve", what=what)
    return point


def _render_g1(point: G1Point) -> Json:
    assert point is not None, "no document has infinity in it"
    return [*map(str, point), "1"]


def _render_g2(point: G2Point) -> Json:
    assert point is not None, "no document has infinity in it"
    return [*([*map(str, coordinate)] for coordinate in point), ["1", "0"]]


def _render(document: Json) -> str:
    return json.dumps(document, indent=1)

"""Refusals as statuses: one meaning each, facts bounded, bad input never a fault of ours."""

from __future__ import annotations

import pytest
from google.rpc import code_pb2, error_details_pb2
from theblock_node.core.errors import InvalidRecord, InvalidTx
from theblock_node.rpc import errors
from theblock_node.rpc.errors import FACT_LENGTH_MAX, FACTS_MAX, refusal, status_code, status_name, to_status


def details(status) -> dict[str, object]:
    from google.rpc import status_pb2

    [packed] = [value for key, value in status.trailing_metadata if key == "grpc-status-details-bin"]
    found = {}
    for detail in status_pb2.Status.FromString(packed).details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            made = kind()
            if detail.Unpack(made):
                found[kind.__name__] = made
    return found


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("tx.malformed", "INVALID_ARGUMENT"),
        ("tx.bad_signature", "UNAUTHENTICATED"),
        ("energy.invalid_signature", "INVALID_ARGUMENT"),
        ("storage.bad_ack", "INVALID_ARGUMENT"),
        ("energy.not_owner", "PERMISSION_DENIED"),
        ("energy.unknown_provider", "NOT_FOUND"),
        ("storage.provider_exists", "ALREADY_EXISTS"),
        ("mempool.full", "RESOURCE_EXHAUSTED"),
        ("energy.price_limit", "FAILED_PRECONDITION"),
        ("tx.sponsor_not_built", "UNIMPLEMENTED"),
        ("energy.unsupported_scheme", "UNIMPLEMENTED"),
        ("store.io", "UNAVAILABLE"),
        ("rpc.deadline", "DEADLINE_EXCEEDED"),
        ("anything.of_tomorrow", "FAILED_PRECONDITION"),
    ],
)
def test_a_refusal_has_the_status_that_its_name_says(code, status):
    assert status_name(code) == status
    assert status_code(code) == code_pb2.Code.Value(status)


def test_no_refusal_that_is_listed_is_a_fault_of_ours():
    ours = {code_pb2.INTERNAL, code_pb2.UNKNOWN, code_pb2.OK}
    assert [code for code in (*errors._EXACT, *errors.RPC_CODES) if status_code(code) in ours] == []


def test_reason_domain_and_facts_travel():
    status = to_status(InvalidTx("energy.stale_reading", last=7, given=5))

    info = details(status)["ErrorInfo"]
    assert (info.reason, info.domain) == ("STALE_READING", "energy.theblock.dev")
    assert dict(info.metadata) == {"last": "7", "given": "5", "rpc_code": "-33003"}
    assert status.code.name == "FAILED_PRECONDITION"


def test_bad_input_names_its_field_and_waits_say_how_long():
    bad = details(to_status(refusal("envelope", "empty")))["BadRequest"]
    wait = details(to_status(InvalidRecord("rpc.rate_limited", retry_after_ms=1500)))["RetryInfo"]

    assert [violation.field for violation in bad.field_violations] == ["envelope"]
    assert wait.retry_delay.ToMilliseconds() == 1500


def test_facts_are_bounded_in_length_and_number():
    facts = {f"fact_{at}": "x" * 10_000 for at in range(FACTS_MAX + 5)}

    status = to_status(InvalidTx("tx.unknown_call", **facts))

    metadata = dict(details(status)["ErrorInfo"].metadata)
    assert len(metadata) <= FACTS_MAX + 1
    assert max(len(value) for value in metadata.values()) == FACT_LENGTH_MAX
    assert len(status.details) <= 1024

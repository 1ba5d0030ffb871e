"""What a failed call means to a client: a refusal, which stays one, or trouble, which may pass."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from theblock_node.client.errors import RefusedError, UnavailableError, translate
from theblock_node.core.errors import InvalidRecord, InvalidTx
from theblock_node.rpc.errors import to_status


def failed(refused: InvalidTx | InvalidRecord) -> AioRpcError:
    """The call as the server ends it."""
    status = to_status(refused)
    return AioRpcError(status.code, Metadata(), Metadata(*status.trailing_metadata), status.details)


def bare(code: grpc.StatusCode) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), "what it says")


def test_a_refusal_comes_back_by_its_name_with_its_facts():
    refused = translate(failed(InvalidTx("energy.stale_reading", last=7)))

    assert isinstance(refused, RefusedError)
    assert (refused.code, refused.facts["last"]) == ("energy.stale_reading", "7")
    assert "energy.stale_reading" in str(refused)


def test_a_disk_that_fails_may_be_asked_again():
    trouble = translate(failed(InvalidRecord("store.io")))

    assert isinstance(trouble, UnavailableError)
    assert str(trouble) == "store.io"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, UnavailableError),
        (grpc.StatusCode.INTERNAL, UnavailableError),
        (grpc.StatusCode.CANCELLED, UnavailableError),
        (grpc.StatusCode.UNIMPLEMENTED, RefusedError),
        (grpc.StatusCode.PERMISSION_DENIED, RefusedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, RefusedError),
    ],
)
def test_a_status_without_details_is_one_of_the_two(code, kind):
    found = translate(bare(code))

    assert type(found) is kind
    if isinstance(found, RefusedError):
        assert found.code == f"rpc.{code.name.lower()}"

"""What a call can end with besides an answer."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

_TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.ABORTED,
}


class RefusedError(Exception):
    """The other side understood and said no; asking again unchanged gives the same."""

    def __init__(self, code: str, message: str, facts: Mapping[str, str]) -> None:
        super().__init__(message)
        self.code = code
        self.facts = dict(facts)


class UnavailableError(ConnectionError):
    """Nobody answered in time; asking again may help."""


def translate(failed: grpc.RpcError) -> RefusedError | UnavailableError:
    """A failed call as one of the two."""
    assert isinstance(failed, grpc.aio.AioRpcError)
    status = rpc_status.from_call(failed)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            code = f"{info.domain.removesuffix('.theblock.dev')}.{info.reason.lower()}"
            if failed.code() is not grpc.StatusCode.UNAVAILABLE:
                return RefusedError(code, failed.details() or code, info.metadata)
            return UnavailableError(code)
    if failed.code() in _TRANSIENT:
        return UnavailableError(f"{failed.code().name}: {failed.details()}")
    return RefusedError(f"rpc.{failed.code().name.lower()}", failed.details() or "", {})

"""What can be read of the compute market."""

from __future__ import annotations

from theblock_node.core import codec
from theblock_node.core.domain import Reading
from theblock_node.core.domains.compute import history, prices
from theblock_node.core.domains.compute.records import (
    ASSIGNMENTS,
    BOARDS,
    CIRCUIT_KEYS,
    CIRCUIT_PAGE_MAX,
    CIRCUITS,
    HISTORY,
    HISTORY_PAGE,
    HISTORY_PAGE_MAX,
    INPUTS,
    JOBS,
    OFFERS,
    PROVIDERS,
    SLICES,
    AssignmentPage,
    CircuitPage,
    CircuitReply,
    GetCircuit,
    GetJob,
    GetPriceBoard,
    GetSliceInput,
    JobPage,
    JobReply,
    ListAssignments,
    ListCircuits,
    ListJobs,
    ListProviders,
    ListSlaHistory,
    PriceBoardReply,
    ProviderPage,
    Resolution,
    SlaHistoryPage,
    SliceInputReply,
    domain,
)
from theblock_node.core.domains.compute.rules import compute_market_price
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.state import get_page

PAGE_MAX = 1000
HISTORY_BYTES_MAX = 2**20
"""Of the rows of a page, which are twice as large as JSON."""


@domain.query("providers", ListProviders, ProviderPage)
def providers(reading: Reading, request: ListProviders) -> ProviderPage:
    rows = [row for key, row in reading.view.items(PROVIDERS) if key > request.after]
    rows = rows[: min(request.limit or PAGE_MAX, PAGE_MAX)]
    shown = {row.provider_id for row in rows}
    return ProviderPage(tuple(rows), tuple(row for (_, name), row in reading.view.items(OFFERS) if name in shown))


@domain.query("job", GetJob, JobReply)
def job(reading: Reading, request: GetJob) -> JobReply:
    found = reading.view.get(JOBS, request.job_id)
    if found is None:
        return JobReply(None, ())
    pieces = [reading.view.get(SLICES, (found.job_id, index)) for index in range(found.slice_count)]
    return JobReply(found, tuple(piece for piece in pieces if piece is not None))


@domain.query("jobs", ListJobs, JobPage)
def jobs(reading: Reading, request: ListJobs) -> JobPage:
    rows = sorted((row for _, row in reading.view.items(JOBS)), key=lambda row: (-row.placed_height, row.job_id))
    return JobPage(tuple(rows[: min(request.limit or 100, PAGE_MAX)]))


@domain.query("assignments", ListAssignments, AssignmentPage)
def assignments(reading: Reading, request: ListAssignments) -> AssignmentPage:
    keys = [
        (job_id, index) for (name, job_id, index), _ in reading.view.items(ASSIGNMENTS) if name == request.provider_id
    ]
    wanted = keys[:PAGE_MAX]
    pieces = [reading.view.get(SLICES, key) for key in wanted]
    owners = [reading.view.get(JOBS, job_id) for job_id in dict.fromkeys(job_id for job_id, _ in wanted)]
    return AssignmentPage(
        tuple(owner for owner in owners if owner is not None), tuple(piece for piece in pieces if piece is not None)
    )


@domain.query("price_board", GetPriceBoard, PriceBoardReply)
def price_board(reading: Reading, request: GetPriceBoard) -> PriceBoardReply:
    board = reading.view.get(BOARDS, request.lane)
    if board is None:
        return PriceBoardReply(0, 0, 0, 0, 0, 0)
    low, median, high = prices.compute_bands(board.prices)
    market_price = compute_market_price(reading.view, request.lane)
    assert market_price is not None
    return PriceBoardReply(len(board.prices), board.prices[-1], low, median, high, market_price)


@domain.query("slice_input", GetSliceInput, SliceInputReply)
def slice_input(reading: Reading, request: GetSliceInput) -> SliceInputReply:
    """What a slice of proving is to prove, while it runs."""
    found = reading.view.get(INPUTS, (request.job_id, request.index))
    return SliceInputReply(None if found is None else found.inputs)


@domain.query("circuits", ListCircuits, CircuitPage)
def list_circuits(reading: Reading, request: ListCircuits) -> CircuitPage:
    if len(request.after) not in (0, 32):
        raise InvalidRecord("codec.value", path="$.after", size=len(request.after))
    count = min(request.limit or CIRCUIT_PAGE_MAX, CIRCUIT_PAGE_MAX)
    return CircuitPage(tuple(row for _, row in get_page(reading.view, CIRCUITS, request.after or None, count)))


@domain.query("circuit", GetCircuit, CircuitReply)
def circuit(reading: Reading, request: GetCircuit) -> CircuitReply:
    """A circuit, with its verifying key."""
    found = reading.view.get(CIRCUITS, request.circuit_hash)
    key = reading.view.get(CIRCUIT_KEYS, request.circuit_hash)
    return CircuitReply(found, b"" if key is None else key.verifying_key)


@domain.query("sla_history", ListSlaHistory, SlaHistoryPage)
def sla_history(reading: Reading, request: ListSlaHistory) -> SlaHistoryPage:
    """How slices ended for their providers."""
    span = history.get_span(reading.view)
    limit = min(request.limit or HISTORY_PAGE, HISTORY_PAGE_MAX)
    sequence = min(request.before or span.following, span.following) - 1
    rows: list[Resolution] = []
    size = 0
    while sequence >= span.first and len(rows) < limit:
        row = reading.view.get(HISTORY, sequence)
        assert row is not None
        size += len(codec.encode(row))
        if rows and size > HISTORY_BYTES_MAX:
            break
        rows.append(row)
        sequence -= 1
    return SlaHistoryPage(tuple(rows), rows[-1].sequence if rows and sequence >= span.first else 0)

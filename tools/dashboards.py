"""Grafana dashboards, written from a table of panels: `python -m tools.dashboards [--check]`.

A panel is a title, an expression for each line, and a unit; places and ids follow from the order.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "charts" / "theblock-monitoring" / "dashboards"
COLUMNS, WIDTH, HEIGHT = 3, 8, 7
SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    lines: tuple[tuple[str, str], ...]
    """Expression and legend."""
    unit: str = "short"
    kind: str = "timeseries"


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


def one(title: str, expression: str, legend: str = "", *, unit: str = "short", kind: str = "timeseries") -> Panel:
    return Panel(title, ((expression, legend),), unit, kind)


def quantiles(title: str, histogram: str, by: str, *, unit: str = "s") -> Panel:
    def line(share: str) -> str:
        return f"histogram_quantile({share}, sum by (le, {by}) (rate({histogram}_bucket[5m])))"

    return Panel(title, ((line("0.5"), f"{{{{{by}}}}} p50"), (line("0.95"), f"{{{{{by}}}}} p95")), unit)


OPERATOR = Dashboard(
    "theblock-operator",
    "theblock: operator",
    (
        (
            "Work",
            (
                one(
                    "Visits",
                    "sum by (kind, result) (rate(theblock_operator_reconcile_total[5m]))",
                    "{{kind}} {{result}}",
                    unit="ops",
                ),
                quantiles("Duration of visits", "theblock_operator_reconcile_duration_seconds", "kind"),
                Panel(
                    "Queue",
                    (
                        ("max(theblock_operator_queue_depth)", "keys"),
                        ("max(theblock_operator_queue_oldest_seconds)", "oldest, s"),
                    ),
                ),
            ),
        ),
        (
            "API server",
            (
                one(
                    "Calls",
                    "sum by (verb, code) (rate(theblock_operator_api_calls_total[5m]))",
                    "{{verb}} {{code}}",
                    unit="ops",
                ),
                one("Writes", "sum by (kind) (rate(theblock_operator_api_writes_total[5m]))", "{{kind}}", unit="ops"),
                one("Silence of watches", "max(theblock_operator_watch_age_seconds)", "oldest", unit="s"),
            ),
        ),
        (
            "State",
            (
                one("Leads", "sum by (namespace) (theblock_operator_lease_held)", "{{namespace}}", kind="stat"),
                one(
                    "Certificates end in",
                    "sort(min by (network, subject) (theblock_operator_cert_expiry_seconds))",
                    "{{network}} {{subject}}",
                    unit="s",
                    kind="bargauge",
                ),
            ),
        ),
    ),
)

NETWORK = Dashboard(
    "theblock-network",
    "theblock: network",
    (
        (
            "Chain",
            (
                Panel(
                    "Height",
                    (("max(chain_height)", "head"), ("max(chain_finalized_height)", "final")),
                ),
                quantiles("Block interval", "block_interval_seconds", "job"),
                one(
                    "Transactions",
                    "sum by (call, result) (rate(chain_tx_total[5m]))",
                    "{{call}} {{result}}",
                    unit="ops",
                ),
            ),
        ),
        (
            "Members",
            (
                one(
                    "Ready",
                    "sum by (member, role) (member_ready * on (instance) group_left (member, role) member_info)",
                    "{{member}}",
                ),
                one("Peers", "p2p_peers", "{{instance}}"),
                one("Waiting transactions", "mempool_size", "{{instance}}"),
            ),
        ),
        (
            "Calls",
            (
                one(
                    "Calls by code",
                    "sum by (code) (rate(rpc_calls_total[5m]))",
                    "{{code}}",
                    unit="ops",
                ),
                quantiles("Duration of calls", "rpc_call_seconds", "method"),
                one("Events", "topk(12, sum by (event) (rate(chain_event_total[5m])))", "{{event}}", unit="ops"),
            ),
        ),
    ),
)

MARKETS = Dashboard(
    "theblock-markets",
    "theblock: markets",
    (
        (
            "Energy",
            (
                Panel(
                    "Providers, receipts, disputes",
                    (
                        ("max(energy_provider_total)", "providers"),
                        ("max(energy_receipt_total)", "receipts"),
                        ("max(energy_active_disputes_total)", "open disputes"),
                    ),
                ),
                one("Pending credits", "max(energy_pending_credits_total)", "Wh", unit="watth"),
                one(
                    "Readings",
                    "sum by (provider) (rate(energy_meter_reading_total[5m]))",
                    "{{provider}}",
                    unit="ops",
                ),
                one("Settlements", "sum by (provider) (rate(energy_settlement_total[5m]))", "{{provider}}", unit="ops"),
                one(
                    "Bad signatures",
                    "sum by (provider, reason) (increase(energy_signature_failure_total[10m]))",
                    "{{provider}} {{reason}}",
                ),
                quantiles("Latency of readings", "oracle_reading_latency_seconds", "job"),
            ),
        ),
        (
            "Compute",
            (
                one("Slices paid", "sum by (provider) (rate(compute_slice_settled_total[5m]))", "{{provider}}"),
                one("Slices missed", "sum by (provider) (increase(compute_slice_violated_total[10m]))", "{{provider}}"),
                quantiles("From job to assignment", "match_loop_latency_seconds", "lane"),
            ),
        ),
        (
            "Storage and bridges",
            (
                Panel(
                    "Challenges",
                    (
                        ("sum by (provider) (rate(storage_challenge_answered_total[5m]))", "{{provider}} answered"),
                        ("sum by (provider) (rate(storage_challenge_missed_total[5m]))", "{{provider}} missed"),
                    ),
                ),
                one("Slots lost", "sum by (provider) (increase(storage_shard_lost_total[30m]))", "{{provider}}"),
                Panel(
                    "Foreign headers",
                    (
                        ("sum by (chain) (rate(bridge_headers_accepted_total[5m]))", "{{chain}} accepted"),
                        ("sum by (chain) (rate(bridge_reorganised_total[5m]))", "{{chain}} switched"),
                    ),
                ),
            ),
        ),
    ),
)
DASHBOARDS = (OPERATOR, NETWORK, MARKETS)


def render(dashboard: Dashboard) -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in dashboard.rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": COLUMNS * WIDTH, "h": 1},
                "panels": [],
            }
        )
        for index, panel in enumerate(row):
            x, y = index % COLUMNS * WIDTH, top + 1 + index // COLUMNS * HEIGHT
            panels.append(_panel(panel, len(panels) + 1, x, y))
        top += 1 + -(-len(row) // COLUMNS) * HEIGHT
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["theblock"],
        "editable": False,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"}]},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for index, (expression, legend) in enumerate(panel.lines)
        ],
    }


def render_files() -> Iterator[tuple[Path, str]]:
    for dashboard in DASHBOARDS:
        yield FOLDER / f"{dashboard.uid}.json", json.dumps(render(dashboard), indent=1) + "\n"


def main(arguments: Sequence[str]) -> int:
    stale = [path for path, text in render_files() if not path.exists() or path.read_text() != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what its panels say: run python -m tools.dashboards")
        return 1 if stale else 0
    for path, text in render_files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Status is written when something is said that was not said before."""

import pytest
from theblock_operator.status import (
    MESSAGE_MAX,
    Condition,
    Status,
    floor_figure,
    floor_height,
    is_worth_writing,
    load_moved,
    needs_refresh,
    parse_rfc3339,
    render,
    rfc3339,
)

NOW = 1_790_000_000
READY = Condition("Ready", "True", "Serving", "all is well")


def test_the_transition_time_moves_only_with_the_status():
    first = render(Status((READY,)), {}, generation=1, now=NOW)
    worded = render(Status((Condition("Ready", "True", "Other", "x"),)), first, generation=2, now=NOW + 5)
    fallen = render(Status((Condition("Ready", "False", "Other"),)), worded, generation=2, now=NOW + 9)

    times = [made["conditions"][0]["lastTransitionTime"] for made in (first, worded, fallen)]
    assert times == [rfc3339(NOW), rfc3339(NOW), rfc3339(NOW + 9)]
    assert worded["conditions"][0]["observedGeneration"] == 2


@pytest.mark.parametrize(
    ("before", "after", "worth"),
    [
        pytest.param({"height": 1}, {"height": 2}, False, id="height"),
        pytest.param(
            {"members": [{"name": "a", "height": 1}]}, {"members": [{"name": "a", "height": 9}]}, False, id="deep"
        ),
        pytest.param({"members": [{"name": "a"}]}, {"members": [{"name": "b"}]}, True, id="member"),
        pytest.param({"replicas": 1}, {"replicas": 2}, True, id="replicas"),
        pytest.param({}, {"balance": "5"}, False, id="first-balance"),
    ],
)
def test_figures_that_move_by_themselves_cause_no_write(before, after, worth):
    assert is_worth_writing(before, after) is worth


@pytest.mark.parametrize(
    ("every", "since", "due"),
    [(0, 10**6, False), (60, 59, False), (60, 60, True)],
)
def test_quiet_figures_are_refreshed_when_the_network_asks(every, since, due):
    found = needs_refresh({"height": 1}, {"height": 2}, last_write=NOW - since, refresh_seconds=every, now=NOW)

    assert found is due
    assert not needs_refresh({"height": 1}, {"height": 1}, last_write=0, refresh_seconds=60, now=NOW)


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        pytest.param({"running": 1, "queued": 0}, {"running": 2, "queued": 0}, True, id="running"),
        pytest.param({"running": 1, "queued": 0}, {"running": 1, "queued": 1}, True, id="queued"),
        pytest.param({"running": 1, "queued": 0}, None, True, id="unknown-now"),
        pytest.param({"running": 1, "settled": 1}, {"running": 1, "settled": 2}, False, id="settled"),
        pytest.param(None, None, False, id="never-known"),
    ],
)
def test_only_slices_that_wait_or_run_are_a_load(before, after, moved):
    was, is_now = ({"jobs": jobs} if jobs else {} for jobs in (before, after))

    assert load_moved(was, is_now) is moved


def test_figures_are_rounded_down():
    assert [floor_height(height) for height in (0, 99, 100, 12_345)] == [0, 0, 100, 12_300]
    assert [floor_figure(amount) for amount in (0, 9, 99, 123, 98_765)] == [0, 9, 99, 120, 98_000]


def test_a_message_is_bounded():
    made = render(Status((Condition("Ready", "False", "Stalled", "x" * 5000),)), {}, generation=1, now=NOW)

    assert len(made["conditions"][0]["message"]) == MESSAGE_MAX


def test_times_come_back_as_they_were():
    assert parse_rfc3339(rfc3339(NOW)) == NOW

"""What is decided of a proof before a device is asked for anything."""

from __future__ import annotations

import pytest
from theblock_gpu import cuda_plan
from theblock_gpu.cuda_plan import Circuit, Pass, Sum, plan_passes, plan_proof
from theblock_node.core.errors import InvalidRecord

GIB = 2**30


def circuit(power: int) -> Circuit:
    return Circuit(1 << power, 1 << power, 4 << power)


def test_much_memory_buys_a_single_window():
    plan = plan_proof(circuit(20), 40 * GIB)
    assert (plan.wires.bits, plan.wires.windows, plan.wires.groups, plan.wires.copies) == (20, 13, 1, 13)
    assert plan.wires.cost == pytest.approx(1.51e8, rel=0.01)


@pytest.mark.parametrize("power", [2, 10, 16, 20])
def test_less_memory_is_kept_to_at_the_price_of_time(power):
    costs = []
    most = plan_proof(circuit(power), 100 * GIB).device_bytes
    for part in (100, 50, 25):
        try:
            plan = plan_proof(circuit(power), most * part // 100)
        except InvalidRecord:
            break
        assert plan.device_bytes <= most * part // 100
        costs.append(6 * plan.wires.cost + plan.quotient.cost)
    assert costs == sorted(costs)
    assert len(set(costs)) == len(costs) >= 2


def test_points_are_split_where_sorting_all_of_them_takes_too_much():
    least = next(size for size in range(0, 64 * GIB, GIB // 4) if _fits(circuit(22), size))
    plan = plan_proof(circuit(22), least)
    assert max(plan.wires.parts, plan.quotient.parts) > 1
    assert plan.wires.part_count * plan.wires.parts >= plan.wires.count


def test_what_does_not_fit_is_refused_with_what_it_takes():
    with pytest.raises(InvalidRecord) as refused:
        plan_proof(circuit(22), GIB)
    assert refused.value.code == "snark.out_of_memory"
    assert refused.value.facts["memory"] == GIB
    needed = refused.value.facts["needed"]
    assert plan_proof(circuit(22), needed).device_bytes == needed


@pytest.mark.parametrize("count", [1, 2, 4, 1000, 1 << 16, 1 << 24, 1 << 28])
def test_every_way_keeps_places_apart_from_signs_and_ends_with_a_sum_for_each_bucket(count):
    ways = list(cuda_plan._ways(count))
    assert ways
    for way in ways:
        assert way.windows * way.bits >= cuda_plan.SCALAR_BITS
        assert way.groups * way.copies >= way.windows > way.groups * (way.copies - 1)
        assert way.count * way.copies < 2**31
        assert way.digits < 2**31
        # So many digits at most fall into one bucket, and so many pieces are left of them after each round.
        pieces = -(-way.part_count * way.copies // way.length)
        for _ in way.limits[1:]:
            pieces = -(-pieces // cuda_plan.MERGED)
        assert pieces == 1


@pytest.mark.parametrize(
    ("power", "turn", "passes"),
    [
        pytest.param(1, 1, (), id="least"),
        pytest.param(10, 10, (), id="one-tile"),
        pytest.param(11, 10, (Pass(10, 1, 2),), id="one-more"),
        pytest.param(16, 10, (Pass(10, 6, 2),), id="two-passes"),
        pytest.param(20, 10, (Pass(10, 5, 2), Pass(15, 5, 2)), id="three-passes"),
        pytest.param(27, 10, (Pass(10, 6, 2), Pass(16, 6, 2), Pass(22, 5, 2)), id="most"),
    ],
)
def test_passes_cover_every_stage_once(power, turn, passes):
    assert plan_passes(power) == (turn, passes)
    assert turn + sum(each.stages for each in passes) == power
    assert all(each.stages + each.columns <= cuda_plan.TILE_BITS for each in passes)


@pytest.mark.parametrize(("bits", "span"), [(4, 4), (15, 4), (17, 8), (20, 32)])
def test_few_buckets_are_shared_among_many_threads(bits, span):
    assert Sum(count=1000, bits=bits, groups=1, parts=1).span == span


def test_a_sum_knows_its_windows():
    # 255 bits and not 254: the last borrow needs room.
    assert Sum(count=1, bits=2, groups=128, parts=1).windows == 128
    assert Sum(count=1, bits=16, groups=16, parts=1).copies == 1


def _fits(of: Circuit, size: int) -> bool:
    try:
        plan_proof(of, size)
    except InvalidRecord:
        return False
    return True

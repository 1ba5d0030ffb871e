"""The Lease: who may take it, who must stop, and that it is given back."""

import asyncio
import copy

import pytest
from theblock_operator.api import Conflict, NotFound, Unavailable
from theblock_operator.leader import Leader, LeaseLost, Timing, acquire_all, micro_time, plan_step

QUICK = Timing(duration_s=1.0, give_up_s=0.5, retry_s=0.01)
LONG = Timing(duration_s=600.0, give_up_s=60.0, retry_s=0.01)


class Leases:
    """Leases with resource versions, as an API server keeps them; down while ``down``."""

    def __init__(self):
        self.held = {}
        self.version = 0
        self.down = False
        self.looked = asyncio.Condition()
        self.count = 0

    async def looks(self, more):
        """Return once the Lease was looked at so many times from now."""
        async with self.looked:
            wanted = self.count + more
            await self.looked.wait_for(lambda: self.count >= wanted)

    async def get(self, kind, namespace, name):
        async with self.looked:
            self.count += 1
            self.looked.notify_all()
        self._check()
        if namespace not in self.held:
            raise NotFound(404, "NotFound", name)
        return copy.deepcopy(self.held[namespace])

    async def create(self, object_):
        self._check()
        namespace = object_["metadata"]["namespace"]
        if namespace in self.held:
            raise Conflict(409, "AlreadyExists", "")
        return self._keep(namespace, object_)

    async def replace(self, object_):
        self._check()
        namespace = object_["metadata"]["namespace"]
        if self.held[namespace]["metadata"]["resourceVersion"] != object_["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "")
        return self._keep(namespace, object_)

    def _keep(self, namespace, object_):
        self.version += 1
        kept = copy.deepcopy(object_)
        kept["metadata"]["resourceVersion"] = str(self.version)
        self.held[namespace] = kept
        return copy.deepcopy(kept)

    def _check(self):
        if self.down:
            raise Unavailable(503, "down", "")


class Told:
    """What was told of leading, namespace by namespace."""

    def __init__(self):
        self.last = {}

    def __call__(self, namespace, held):
        self.last[namespace] = held


def lease(holder, duration=15):
    return {"spec": {"holderIdentity": holder, "leaseDurationSeconds": duration}}


@pytest.mark.parametrize(
    ("found", "unchanged_s", "step"),
    [
        pytest.param(None, 0, "create", id="none"),
        pytest.param(lease("me"), 0, "renew", id="mine"),
        pytest.param(lease("me"), 99, "renew", id="mine-and-late"),
        pytest.param(lease("other"), 0, "wait", id="fresh"),
        pytest.param(lease("other"), 15, "wait", id="at-the-end"),
        pytest.param(lease("other"), 15.1, "take", id="past-its-end"),
        pytest.param(lease(""), 0, "take", id="given-back"),
        pytest.param({"spec": {}}, 0, "take", id="empty"),
        pytest.param({}, 0, "take", id="no-spec"),
    ],
)
def test_a_lease_is_taken_only_when_it_is_free(found, unchanged_s, step):
    assert plan_step(found, "me", unchanged_s) == step


def make(leases, identity, told=None, *, timing=QUICK, **options):
    return Leader(leases, "n", identity, timing=timing, led=told or Told(), **options)


async def test_one_of_two_leads_and_the_other_follows_when_it_is_given_back():
    leases, told = Leases(), Told()
    first, second = make(leases, "a", told, timing=LONG), make(leases, "b", timing=LONG)
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await leases.looks(3)
    assert not waiting.done()

    await first.release()
    await asyncio.wait_for(waiting, 30)

    assert told.last == {"n": False}
    assert leases.held["n"]["spec"]["holderIdentity"] == "b"
    assert leases.held["n"]["spec"]["leaseTransitions"] == 1


async def test_a_lease_that_nobody_renews_is_taken_by_our_own_clock():
    leases = Leases()
    await make(leases, "gone").acquire()
    seconds = [0.0]
    second = make(leases, "b", monotonic=lambda: seconds[0], now=lambda: 0.0)

    assert not await second._try()
    seconds[0] = 1.0
    assert not await second._try()
    seconds[0] = 1.1
    assert await second._try()


async def test_renewing_keeps_when_it_was_acquired():
    leases = Leases()
    leader = make(leases, "a", now=iter([1.0, 2.0]).__next__)
    await leader._try()
    await leader._try()

    assert leases.held["n"]["spec"]["acquireTime"] == micro_time(1.0)
    assert leases.held["n"]["spec"]["renewTime"] == micro_time(2.0)
    assert leases.held["n"]["spec"]["leaseTransitions"] == 0


async def test_losing_the_lease_to_another_ends_the_holder():
    leases, told = Leases(), Told()
    leader = make(leases, "a", told)
    await leader.acquire()
    leases.held["n"]["spec"]["holderIdentity"] = "thief"

    with pytest.raises(LeaseLost, match="another"):
        await asyncio.wait_for(leader.hold(), 30)

    assert told.last == {"n": False}


async def test_an_api_server_that_is_away_too_long_ends_the_holder():
    leases = Leases()
    leader = make(leases, "a")
    await leader.acquire()
    leases.down = True

    with pytest.raises(LeaseLost, match="in time"):
        await asyncio.wait_for(leader.hold(), 30)


async def test_a_short_outage_does_not_end_the_holder():
    leases, seconds = Leases(), [0.0]
    leader = make(leases, "a", timing=LONG, monotonic=lambda: seconds[0])
    await leader.acquire()
    leases.down = True
    holding = asyncio.create_task(leader.hold())
    await leases.looks(3)
    leases.down = False
    version = leases.version
    await leases.looks(2)

    assert leases.version > version
    assert not holding.done()
    holding.cancel()


async def test_a_lease_that_another_wrote_first_is_not_ours():
    leases = Leases()

    class Slow(Leases):
        """Between its look and its write another is faster."""

        async def get(self, kind, namespace, name):
            raise NotFound(404, "NotFound", name)

        async def create(self, object_):
            return await leases.create(object_)

    await make(leases, "fast").acquire()

    assert not await make(Slow(), "slow")._try()


async def test_releasing_what_is_not_held_writes_nothing():
    leases = Leases()
    await make(leases, "a").release()

    assert leases.version == 0


async def test_all_namespaces_are_led_before_work_begins():
    leases, told = Leases(), Told()
    await acquire_all([Leader(leases, name, "a", timing=QUICK, led=told) for name in ("m", "n")])

    assert told.last == {"m": True, "n": True}

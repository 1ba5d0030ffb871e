"""A toy world: a cluster and a chain of dictionaries in which plans are carried out, act by act, and watched.

Not a mock of a client but a second executor of the same acts, beside Kubernetes and the embedded run. `Watch` states
what no plan may ever do; it looks at every act before it is carried out.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from theblock_operator import acts, names, status
from theblock_operator.kinds import BY_NAME, quorum
from theblock_operator.observed import (
    API,
    CHAIN,
    Account,
    Authority,
    Call,
    Certificate,
    Chain,
    Fence,
    Genesis,
    Key,
    KeyRef,
    Layout,
    MemberFacts,
    Node,
    NodeStatus,
    Observed,
    Pod,
    Resource,
    Seat,
    Stake,
    ValidatorSet,
    Volume,
    Workload,
)

STARTER = Path(__file__).resolve().parents[2] / "examples" / "starter" / "starter.yaml"
YEAR = 31_536_000
NOW = 1_790_000_000


class Forbidden(AssertionError):
    """A plan asked for what may never happen."""


def fake_key(ref: KeyRef) -> Key:
    public = hashlib.sha256(f"{ref.secret}/{ref.field}".encode()).hexdigest()
    address = hashlib.sha256(public.encode()).hexdigest()
    return Key(public, f"0000:{address}", public)


@dataclass
class MemberState:
    member: Any
    resource: str
    workload_uid: str
    revision: str
    replicas: int
    annotations: dict[str, str]
    certificate: Certificate | None = None
    pod: Pod | None = None
    age: int = 0


@dataclass
class World:
    now: int = NOW
    resources: dict[tuple[str, str], Resource] = field(default_factory=dict)
    members: dict[str, MemberState] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    keys: dict[KeyRef, Key] = field(default_factory=dict)
    secrets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    authority: Authority | None = None
    admin: Certificate | None = None
    genesis: Genesis | None = None
    nodes: tuple[Node, ...] = (Node("one"),)
    silent: dict[str, int] = field(default_factory=dict)
    height: int = 0
    accounts: dict[str, int] = field(default_factory=dict)
    stakes: dict[str, Stake] = field(default_factory=dict)
    seats: dict[str, int] = field(default_factory=dict)
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    offers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    oracle_keys: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    clients: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    pending: list[tuple[int, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    log: list[tuple[str, Any]] = field(default_factory=list)
    serial: int = 0
    lag: int = 1
    """Rounds until a command is final."""
    quarantined: set[str] = field(default_factory=set)
    """Members whose device the prover does not trust."""

    # Users.

    def load(self, path: Path = STARTER) -> World:
        for body in yaml.safe_load_all(path.read_text()):
            self.apply(body)
        self.secrets["starter-db"] = ("dsn",)
        return self

    def apply(self, body: dict[str, Any]) -> None:
        key = (body["kind"], body["metadata"]["name"])
        known = self.resources.get(key)
        if known is not None:
            self.resources[key] = replace(known, spec=body["spec"], generation=known.generation + 1)
            return
        self.serial += 1
        self.resources[key] = Resource(
            *(body["kind"], body["metadata"]["namespace"], key[1], f"uid-{self.serial}", 1, self.now, body["spec"])
        )

    def change(self, kind: str, name: str, **spec: Any) -> None:
        known = self.resources[kind, name]
        self.resources[kind, name] = replace(known, spec={**known.spec, **spec}, generation=known.generation + 1)

    def delete(self, kind: str, name: str) -> None:
        known = self.resources[kind, name]
        self.resources[kind, name] = replace(known, deleting=True, deleting_since=self.now)

    def annotate(self, kind: str, name: str, **notes: str) -> None:
        known = self.resources[kind, name]
        named = {f"theblock.dev/{key.replace('_', '-')}": value for key, value in notes.items()}
        self.resources[kind, name] = replace(known, annotations={**known.annotations, **named})

    # The operator.

    def observe(self, resource: Resource) -> Observed:
        kind = BY_NAME[resource.kind]
        spec = kind.parse({"metadata": {"name": resource.name}, "spec": resource.spec})
        neighbours = tuple(self.resources.values())
        network = resource.name if resource.kind == "Network" else resource.spec["network"]
        own = {
            name: facts
            for name in {*self.members, *(volume.removeprefix("data-")[:-2] for volume in self.volumes)}
            if (facts := self._facts(name, resource)) is not None
        }
        base = Observed(
            resource,
            neighbours,
            own,
            authority=self.authority,
            admin_certificate=self.admin,
            genesis=self.genesis,
            nodes=self.nodes,
            silences=dict(self.silent),
            operator_image="theblock-node:0.1.0",
            layout=Layout(),
        )
        wants = kind.wants(spec, base)
        keys = {ref: self.keys[ref] for ref in wants.keys if ref in self.keys}
        assert network
        chain = Chain() if CHAIN in self.silent or not self.is_alive else self._chain(wants, keys)
        silences = dict(self.silent) if self.is_alive else {CHAIN: self.silent.get(CHAIN, self.now), **self.silent}
        return replace(
            base,
            keys=keys,
            secrets={name: self.secrets[name] for name in wants.secrets if name in self.secrets},
            chain=chain,
            silences=silences,
        )

    def reconcile(self, kind_name: str, name: str, *, upto: int | None = None) -> None:
        """One visit; ``upto`` ends it after so many acts, as a crash would."""
        resource = self.resources.get((kind_name, name))
        if resource is None:
            return
        kind = BY_NAME[kind_name]
        observed = self.observe(resource)
        spec = kind.parse({"metadata": {"name": name}, "spec": resource.spec})
        plan = kind.plan(spec, observed, self.now)
        for act in plan.acts[:upto]:
            check(self, resource, observed, act)
            self.execute(resource, act)
        if (kind_name, name) in self.resources:
            judged = kind.judge(spec, observed, self.now)
            self.events += [str(reason) for reason, _ in kind.news(status.conditions_of(resource.status), judged)]
            made = status.render(judged, resource.status, generation=resource.generation, now=self.now)
            present = self.resources[kind_name, name]
            self.resources[kind_name, name] = replace(present, status=made)

    def round(self, **options: Any) -> None:
        for key in sorted(self.resources):
            self.reconcile(*key, **options)
        self.tick()

    def settle(self, rounds: int = 400) -> int:
        """Until nothing changes any more; returns after how many rounds."""
        quiet, before = 0, self.print()
        for count in range(rounds):
            self.round()
            after = self.print()
            quiet, before = (quiet + 1 if before == after else 0), after
            if quiet >= 8:
                return count
        raise AssertionError("the world does not settle: " + "; ".join(str(entry) for entry in self.log[-12:]))

    def print(self) -> str:
        """Everything that a plan can change."""
        return json.dumps(
            [
                {
                    name: (s.revision, s.replicas, s.annotations, s.pod and s.pod.uid)
                    for name, s in self.members.items()
                },
                sorted(self.volumes),
                {ref.secret: str(key) for ref, key in self.keys.items()},
                self.accounts,
                {key: str(row) for key, row in self.stakes.items()},
                self.seats,
                self.rows,
                sorted(map(str, self.offers.items())),
                sorted(map(str, self.oracle_keys.items())),
                {f"{k}/{n}": [r.deleting, r.finalizers, ready(r)] for (k, n), r in self.resources.items()},
                [str(call) for _, call in self.pending],
            ],
            sort_keys=True,
        )

    # The cluster.

    def execute(self, resource: Resource, act: acts.Act) -> None:
        self.log.append((f"{resource.kind}/{resource.name}", act))
        key = (resource.kind, resource.name)
        match act:
            case acts.EnsureFinalizer():
                self.resources[key] = replace(
                    resource, finalizers=(names.FINALIZER,), status=self.resources[key].status
                )
            case acts.RemoveFinalizer():
                del self.resources[key]
            case acts.CreateKey():
                fence = Fence(1, "", act.resource_uid) if act.purpose == "node" else None
                self.keys.setdefault(act.ref, replace(fake_key(act.ref), fence=fence))
            case acts.CreateAuthority():
                self.authority = self.authority or Authority("ca-1", self.now + act.seconds)
            case acts.IssueCertificate():
                made = Certificate(self.now, self.now + act.seconds, f"f{self.now}", "ca-1")
                if act.member is None:
                    self.admin = made
                else:
                    self.members[act.member].certificate = made
            case acts.RecordFence():
                self.keys[act.ref] = replace(self.keys[act.ref], fence=act.fence)
            case acts.MarkKeyUsed():
                self.keys[act.ref] = replace(self.keys[act.ref], used_on=act.genesis_sha256)
            case acts.SealGenesis():
                assert hashlib.sha256(act.document).hexdigest() == act.sha256
                self.genesis = self.genesis or Genesis(json.loads(act.document), act.sha256)
                self._start_chain()
            case acts.EnsureMember():
                self._ensure(resource, act.member)
            case acts.RollMember() | acts.DeletePod():
                state = self.members[act.member]
                assert state.pod is not None
                assert state.pod.uid == act.pod_uid
                state.pod = None
            case acts.RemoveMember():
                assert self.members[act.member].workload_uid == act.workload_uid
                del self.members[act.member]
            case acts.DeleteVolume():
                assert self.volumes.pop(act.volume).uid == act.uid
            case acts.SetDrain():
                notes = self.members[act.member].annotations
                notes.pop(names.DRAINING_SINCE, None)
                if act.since is not None:
                    notes[names.DRAINING_SINCE] = str(act.since)
            case acts.Transfer() | acts.ChainCall():
                if self.calls.get(act.key) is None or self.calls[act.key].state != "pending":
                    self.calls[act.key] = Call("pending", self.now)
                    self.pending.append((self.height + self.lag, act))
            case acts.Emit():
                self.events.append(str(act.reason))
            case acts.EnsureShared() | acts.EnsurePeers() | acts.GrowVolume() | acts.StepAuthority():
                pass
            case _:
                raise AssertionError(f"the world does not know {act}")

    def _ensure(self, resource: Resource, member: Any) -> None:
        known = self.members.get(member.name)
        if known is None:
            self.serial += 1
            known = self.members[member.name] = MemberState(
                member, resource.name, f"w{self.serial}", member.revision, 0, {}
            )
        kept = {key: value for key, value in known.annotations.items() if key == names.DRAINING_SINCE}
        known.annotations = {**kept, **member.workload_annotations}
        known.member, known.revision, known.replicas = member, member.revision, member.replicas

    def _facts(self, name: str, resource: Resource) -> MemberFacts | None:
        prefix, ordinal = names.split_member(name)
        is_own = prefix == names.member_prefix(resource)
        if not is_own and resource.kind != "Network":
            return None
        state = self.members.get(name)
        volume = self.volumes.get(names.claim(name))
        if state is None:
            return MemberFacts(name, ordinal, volume=volume)
        work = Workload(state.workload_uid, state.revision, state.replicas, NOW, dict(state.annotations))
        answer = None
        if state.pod is not None and state.pod.ready:
            answer = NodeStatus(
                state.member.role,
                genesis_hash="beef",
                height=self.height,
                finalized_height=self.height,
                peers=3,
                in_sync=True,
                details=self._details(state.member),
            )
        return MemberFacts(name, ordinal, work, state.pod, volume, state.certificate, answer)

    def _details(self, member: Any) -> dict[str, Any]:
        """What a member of the role says of itself when all is well."""
        if member.role == "bridge":
            return {"drained": True, "state": "exhausted"}
        if member.role == "compute_provider":
            return self._compute_details(member)
        meters = member.config["settings"].get("meters", ())
        return {
            "drained": True,
            "meters": [{"name": meter["name"], "reachable": True, "accepted": True} for meter in meters],
        }

    def _compute_details(self, member: Any) -> dict[str, Any]:
        has_device, is_bad = bool(member.prover.device), member.name in self.quarantined
        health = {"health": "Quarantined", "reason": "SelfCheckFailed"} if is_bad else {"health": "Healthy"}
        return {
            "drained": not self.rows.get("compute", {}).get(member.name, {}).get("running"),
            "backend": "cuda" if has_device and not is_bad else "native",
            "devices": [{"index": 0, "model": "fake", **health}] if has_device else [],
        }

    @property
    def is_alive(self) -> bool:
        """Enough validators are up for finality."""
        if self.genesis is None:
            return False
        return quorum.compute_spare(self.seats.values(), [w for i, w in self.seats.items() if not self._votes(i)]) >= 0

    def _votes(self, identity: str) -> bool:
        for name, state in self.members.items():
            if state.member.role == "validator" and self.keys[state.member.key].public_key == identity:
                return state.pod is not None and state.pod.ready and bool(name)
        return False

    def tick(self) -> None:
        self.now += 1
        for name, state in sorted(self.members.items()):
            if state.replicas and state.pod is None:
                self.serial += 1
                state.pod = Pod(f"p{self.serial}", self.now, state.revision, node=self._place(state.member))
                state.age = 0
                if state.pod.node == "":
                    state.pod = replace(state.pod, unschedulable_since=self.now)
                if state.member.volume_size is not None and names.claim(name) not in self.volumes:
                    self.volumes[names.claim(name)] = Volume(names.claim(name), f"v{self.serial}", 10**15)
            elif state.pod is not None and state.pod.node:
                state.age += 1
                if state.age >= 2 and not state.pod.ready and not state.pod.trouble:
                    state.pod = replace(state.pod, ready=True, ready_since=self.now)
        if self.is_alive and CHAIN not in self.silent:
            self._block()

    def _place(self, member: Any) -> str:
        device = member.prover.device if member.prover is not None else ""
        for node in self.nodes:
            selected = all(node.labels.get(key) == value for key, value in member.scheduling.node_selector.items())
            if selected and (not device or node.allocatable.get(device, 0) > node.requested.get(device, 0)):
                return node.name
        return ""

    # The chain.

    def _start_chain(self) -> None:
        assert self.genesis is not None
        document = self.genesis.document
        for row in [*document["allocations"], *([document["funder"]] if document["funder"] else [])]:
            self.accounts[row["address"]] = int(row["amount"])
        for row in document["validators"]:
            stake = int(row["stake"])
            self.stakes.setdefault(row["public_key"], Stake(row["public_key"], 0, stake, row["owner"]))
            self.seats.setdefault(row["public_key"], stake)

    def _block(self) -> None:
        self.height += 1
        due = [act for height, act in self.pending if height <= self.height]
        self.pending = [(height, act) for height, act in self.pending if height > self.height]
        for act in due:
            code = self._transfer(act) if isinstance(act, acts.Transfer) else self._run(act)
            self.calls[act.key] = Call("refused" if code else "final", self.now, code or "")
        if self.height % 5 == 0:
            self.seats = {stake.id: stake.amount for stake in self.stakes.values() if stake.amount}
        for rows in self.rows.values():
            for row in rows.values():
                if row.get("retired") and row["until"] <= self.height:
                    row["bond"] = "0"
                if row.get("slots_held") and row.get("maintenance"):
                    row["slots_held"] -= 1

    def _transfer(self, act: acts.Transfer) -> str | None:
        source = self.keys[act.source].address
        if self.accounts.get(source, 0) < act.amount:
            return "accounts.insufficient_balance"
        self.accounts[source] -= act.amount
        self.accounts[act.to] = self.accounts.get(act.to, 0) + act.amount
        return None

    def _pay(self, owner: str, amount: int) -> bool:
        if self.accounts.get(owner, 0) < amount:
            return False
        self.accounts[owner] -= amount
        return True

    def _run(self, act: acts.ChainCall) -> str | None:
        owner = self.keys[act.signer].address
        args = copy.deepcopy(dict(act.args))
        domain, _, command = act.name.partition(".")
        if domain == "validators":
            return self._validators(command, args, owner)
        if domain == "energy":
            return self._energy(command, args, owner)
        rows = self.rows.setdefault(domain, {})
        if command == "start_light_client":
            self.clients[args["chain_id"]] = {"tip_height": 0}
            return None
        ident = args.get("provider_id") or args["relayer"]
        row = rows.get(ident)
        match command:
            case "register_provider" | "register_relayer":
                held = int(row["bond"]) if row else 0
                if row and row.get("retired") and held:
                    return f"{domain}.unbonding"
                if not self._pay(owner, int(args["bond"]) - held):
                    return "accounts.insufficient_balance"
                rows[ident] = {"slots_held": 0, "used_bytes": 0, "running": 0, **(row or {}), **args, "owner": owner}
                rows[ident] |= {"retired": False, "maintenance": False}
                return None
        assert row is not None, f"{act.name} of {ident}, which is not there"
        match command:
            case "set_maintenance":
                row["maintenance"] = args["on"]
            case "post_offer":
                self.offers[ident, args["lane"]] = args
            case "withdraw_offer":
                self.offers = {key: offer for key, offer in self.offers.items() if key[0] != ident}
            case "retire_provider" | "retire_relayer":
                assert not row["slots_held"], "a provider that holds shards must not retire"
                assert not row["running"]
                row |= {"retired": True, "until": self.height + 10}
            case _:
                raise AssertionError(f"the chain does not know {act.name}")
        return None

    def _validators(self, command: str, args: dict[str, Any], owner: str) -> str | None:
        known = self.stakes.get(args["id"])
        match command:
            case "register":
                if known is not None:
                    return "validators.already_registered"
                self.stakes[args["id"]] = Stake(args["id"], 0, 0, owner)
            case "bond":
                assert known is not None
                if not self._pay(owner, int(args["amount"])):
                    return "accounts.insufficient_balance"
                self.stakes[args["id"]] = replace(known, amount=known.amount + int(args["amount"]))
            case "unbond":
                assert known is not None
                assert known.amount >= int(args["amount"])
                self.stakes[args["id"]] = replace(known, amount=known.amount - int(args["amount"]))
            case _:
                raise AssertionError(command)
        return None

    def _energy(self, command: str, args: dict[str, Any], owner: str) -> str | None:
        rows = self.rows.setdefault("energy", {})
        ident = args["provider_id"]
        row = rows.get(ident)
        match command:
            case "register_provider":
                if row is not None:
                    return "energy.id_taken"
                if not self._pay(owner, int(args["stake"])):
                    return "accounts.insufficient_balance"
                oracles = [key["oracle_id"] for key in args["keys"]]
                rows[ident] = {**args, "owner": owner, "staked": args["stake"], "state": "ACTIVE", "oracles": oracles}
                rows[ident] |= {"credits": 0, "locked": "0", "last_nonce": "1", "pending_terms": None}
                for key in args["keys"]:
                    self.oracle_keys[ident, key["oracle_id"]] = [{"key_version": 1, "public_key": key["public_key"]}]
            case "rotate_provider_key":
                assert row is not None
                keys = self.oracle_keys.setdefault((ident, args["oracle_id"]), [])
                keys.append({"key_version": len(keys) + 1, "public_key": args["new_key"]})
                row["oracles"] = sorted({*row["oracles"], args["oracle_id"]})
            case "retire_provider_key":
                assert row is not None
                if len(row["oracles"]) <= 1:
                    return "energy.below_min_attesters"
                row["oracles"].remove(args["oracle_id"])
                del self.oracle_keys[ident, args["oracle_id"]]
            case "deregister_provider":
                assert row is not None
                row["state"] = "UNBONDING"
            case "update_provider":
                assert row is not None
                row |= args
            case "top_up_stake":
                assert row is not None
                if not self._pay(owner, int(args["amount"])):
                    return "accounts.insufficient_balance"
                row["staked"] = str(int(row["staked"]) + int(args["amount"]))
            case _:
                raise AssertionError(command)
        return None

    def _chain(self, wants: Any, keys: dict[KeyRef, Key]) -> Chain:
        records = {}
        for query in wants.queries:
            domain, _, name = query.name.partition(".")
            rows = copy.deepcopy(list(self.rows.get(domain, {}).values()))
            if query.name == "energy.provider":
                ident = query.request["provider_id"]
                found = [(o, k) for (p, o), k in sorted(self.oracle_keys.items()) if p == ident]
                reply: dict[str, Any] = {"keys": [{"oracle_id": o, "keys": k} for o, k in found]}
            elif name == "market_state":
                reply = {"status": "trade", "min_attesters": 1, "totals": {}}
            elif name == "headers":
                reply = {"client": self.clients.get(query.request["chain_id"])}
            else:
                reply = {name: rows}
            if query.name == "compute.providers":
                reply["offers"] = list(copy.deepcopy(self.offers).values())
            records[query.key or query.name] = reply
        accounts = {key.address: Account(self.accounts.get(key.address, 0)) for key in keys.values()}
        seats = tuple(Seat(identity, weight, self._votes(identity)) for identity, weight in sorted(self.seats.items()))
        return Chain(
            height=self.height,
            finalized_height=self.height,
            finalized_since=self.now,
            accounts=accounts,
            stakes=tuple(self.stakes.values()),
            validator_set=ValidatorSet(self.height // 5, seats),
            records=records,
            calls=dict(self.calls),
        )

    def condition(self, kind: str, name: str, type_: str) -> tuple[str, str]:
        rows = self.resources[kind, name].status["conditions"]
        return next((row["status"], row["reason"]) for row in rows if row["type"] == type_)


def ready(resource: Resource) -> str:
    rows = resource.status.get("conditions", ())
    return next((f"{row['status']} {row['reason']}" for row in rows if row["type"] == "Ready"), "")


# What no plan may do.


def check(world: World, resource: Resource, observed: Observed, act: acts.Act) -> None:
    """Look at an act before it is carried out; raises `Forbidden`."""
    if not isinstance(act, acts.DESTRUCTIVE):
        if isinstance(act, acts.ChainCall) and act.name == "validators.unbond":
            _check_unbond(world, act)
        return
    if API in observed.silences:
        raise Forbidden(f"{act} while the API server is silent")
    if resource.annotations.get(names.PAUSED) == "true":
        raise Forbidden(f"{act} while paused")
    if isinstance(act, acts.DeleteVolume):
        _check_volume(world, resource, act)
        return
    state = world.members[act.member]
    network = world.resources.get(("Network", state.member.network))
    is_going = (
        network is None or network.deleting or (resource.deleting and resource.spec.get("deletionPolicy") == "Retain")
    )
    if isinstance(act, acts.RemoveMember) and not is_going:
        if CHAIN in observed.silences:
            raise Forbidden(f"{act} while the chain is silent")
        if is_on_chain(world, state):
            raise Forbidden(f"{act} before its exit is final")
    if isinstance(act, acts.RollMember) and state.member.role == "compute_provider":
        _check_slices(world, resource, state)
    if isinstance(act, acts.RollMember) and state.member.role == "validator" and CHAIN not in observed.silences:
        assert state.pod is not None
        if state.pod.ready:
            _check_absence(world, state)


def _check_slices(world: World, resource: Resource, state: MemberState) -> None:
    row = world.rows.get("compute", {}).get(state.member.name, {})
    since = int(state.annotations.get(names.DRAINING_SINCE, world.now))
    has_time = world.now - since < resource.spec.get("drainDeadlineSeconds", 600)
    if row.get("running") and has_time and state.pod is not None and state.pod.ready:
        raise Forbidden("a running slice is killed before its deadline")


def is_on_chain(world: World, state: MemberState) -> bool:
    member = state.member
    identity = world.keys[member.key].public_key
    if member.role == "validator":
        stake = world.stakes.get(identity)
        return identity in world.seats or (stake is not None and stake.amount > 0)
    if member.role == "energy_oracle":
        rows = world.rows.get("energy", {}).values()
        return any(member.name in row["oracles"] and row["state"] != "UNBONDING" for row in rows)
    domain = member.role.removesuffix("_provider")
    row = world.rows.get(domain, {}).get(member.name)
    return row is not None and not row.get("retired")


def _check_unbond(world: World, act: acts.ChainCall) -> None:
    identity = act.args["id"]
    going = {stake.id for stake in world.stakes.values() if not stake.amount and stake.id in world.seats}
    going |= {other.args["id"] for _, other in world.pending if getattr(other, "name", "") == "validators.unbond"}
    if going - {identity}:
        raise Forbidden("two validators leave at once")
    left = {other: weight for other, weight in world.seats.items() if other != identity}
    away = [weight for other, weight in left.items() if not world._votes(other)]
    if quorum.compute_spare(left.values(), away) < 0:
        raise Forbidden("what is left of the set does not reach its threshold")


def _check_absence(world: World, state: MemberState) -> None:
    identity = world.keys[state.member.key].public_key
    away = [weight for other, weight in world.seats.items() if other != identity and not world._votes(other)]
    spare = quorum.compute_spare(world.seats.values(), away)
    if away and identity in world.seats and spare < 1:
        raise Forbidden("a validator is rolled while no other may be away")


def _check_volume(world: World, resource: Resource, act: acts.DeleteVolume) -> None:
    member = act.volume.removeprefix("data-")[:-2]
    row = world.rows.get("storage", {}).get(member)
    network = world.resources.get(("Network", resource.spec["network"]))
    if network is not None and not network.deleting and row is not None and not row.get("retired"):
        raise Forbidden("a volume goes while its provider is on the chain")
    if row is not None and row["slots_held"]:
        raise Forbidden("a volume with shards goes")

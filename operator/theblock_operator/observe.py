"""From what was told of objects, pods and the chain to the one record that a kind decides from."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from theblock_operator import ca, keys, names
from theblock_operator.api import OUR_KINDS, Api, NotFound
from theblock_operator.cache import Cache, Key
from theblock_operator.chain import Links, NetworkLink, Where
from theblock_operator.kinds.kind import Kind, parse_bytes
from theblock_operator.observed import (
    API,
    CHAIN,
    NODES,
    Authority,
    Certificate,
    Chain,
    Genesis,
    KeyRef,
    Layout,
    MemberFacts,
    Node,
    Object,
    Observed,
    Pod,
    Resource,
    Volume,
    Wants,
    Workload,
)
from theblock_operator.observed import Key as KeyFacts
from theblock_operator.status import parse_rfc3339

SECRET_FRESH_S = 300.0
"""Secrets change by our own hand or by people's; so long may a change of theirs go unseen."""
ABSENT_FRESH_S = 2.0
"""So long an absent Secret is not asked for again, unless we made it."""
CRASH_RESTARTS = 3


class Secrets:
    """Secrets by name, read once and again after a while, or when we changed them."""

    def __init__(self, api: Api, monotonic: Callable[[], float]) -> None:
        self._api = api
        self._monotonic = monotonic
        self._known: dict[tuple[str, str], tuple[float, Object | None]] = {}

    async def get(self, namespace: str, name: str) -> Object | None:
        at, found = self._known.get((namespace, name), (-math.inf, None))
        fresh = SECRET_FRESH_S if found is not None else ABSENT_FRESH_S
        if self._monotonic() - at < fresh:
            return found
        try:
            found = await self._api.get("Secret", namespace, name)
        except NotFound:
            found = None
        self._known[(namespace, name)] = (self._monotonic(), found)
        return found

    def put(self, secret: Object) -> None:
        meta = secret["metadata"]
        self._known[(meta["namespace"], meta["name"])] = (self._monotonic(), secret)

    def forget(self, namespace: str, name: str) -> None:
        self._known.pop((namespace, name), None)

    def known(self) -> list[Object]:
        """Those that are there, as last read."""
        return [secret for _, secret in self._known.values() if secret is not None]


class Observer:
    """Reads for `reconcile.py`; `layout` and `run_dir` say where pods and our own certificates have their files."""

    def __init__(
        self,
        cache: Cache,
        secrets: Secrets,
        links: Links,
        *,
        layout: Callable[[], Layout],
        run_dir: Path,
        images: tuple[str, str],
        watches_nodes: bool,
        monotonic: Callable[[], float],
        now: Callable[[], int],
    ) -> None:
        self.cache = cache
        self.secrets = secrets
        self.links = links
        self.run_dir = run_dir
        self._layout = layout
        self._images = images
        self._watches_nodes = watches_nodes
        self._monotonic = monotonic
        self._now = now
        self._silent: dict[tuple[str, str], int] = {}
        """Since when a member has not answered, in Unix seconds."""
        self._read: dict[str, dict[tuple[str, str], tuple[Object, Resource]]] = {kind: {} for kind in OUR_KINDS}
        """What each resource was read from, and as what: every visit looks at all of its namespace."""

    def resource(self, key: Key) -> Resource | None:
        found = self.cache.get(*key)
        if found is None:
            self._read[key[0]].pop(key[1:], None)
            return None
        return self._resource(key[0], key[1:], found)

    def _neighbours(self, namespace: str) -> Iterator[Resource]:
        for kind, read in self._read.items():
            for where, found in self.cache.within(kind, namespace).items():
                known = read.get(where)
                yield known[1] if known is not None and known[0] is found else self._resource(kind, where, found)

    def _resource(self, kind: str, where: tuple[str, str], found: Object) -> Resource:
        known = self._read[kind].get(where)
        if known is None or known[0] is not found:
            known = self._read[kind][where] = (found, read_resource(kind, found))
        return known[1]

    async def observe(self, key: Key, kind: Kind, spec: Any) -> Observed | None:
        """Everything that the kind may look at; None when the resource is gone."""
        resource = self.resource(key)
        if resource is None:
            return None
        namespace = resource.namespace
        silences: dict[str, int] = {}
        down = self.cache.silent_since()
        if down is not None:
            silences[API] = self._now() - int(self._monotonic() - down)
        if not self._watches_nodes:
            silences[NODES] = 0
        observed = Observed(
            resource=resource,
            neighbours=tuple(self._neighbours(namespace)),
            members=self._members(resource),
            nodes=tuple(self._nodes()) if self._watches_nodes else (),
            layout=self._layout(),
            operator_image=self._images[0],
            prover_image=self._images[1],
            silences=silences,
        )
        network = observed.network
        if network is None:
            return observed
        observed = replace(observed, genesis=self._genesis(network), authority=await self._authority(network))
        wants = kind.wants(spec, observed)
        observed = replace(
            observed,
            keys=await self._keys(namespace, wants.keys),
            secrets=await self._secret_fields(namespace, wants.secrets),
            config_maps={
                name: tuple(found.get("data") or ())
                for name in wants.config_maps
                if (found := self.cache.get("ConfigMap", namespace, name)) is not None
            },
            admin_certificate=await self._certificate(namespace, names.admin(network.name)),
        )
        return await self._ask(observed, network, wants)

    async def _ask(self, observed: Observed, network: Resource, wants: Wants) -> Observed:
        """Ask the members and the chain; who does not answer is silent, not absent."""
        namespace = network.namespace
        link = self.link(network)
        wanted = dict(wants.members)
        facts = {
            name: observed.members.get(name) or MemberFacts(name, wanted[name]) for name in {*wanted, *observed.members}
        }
        seen = dict(
            zip(facts, await asyncio.gather(*(self._member(link, namespace, f) for f in facts.values())), strict=True)
        )
        silences = dict(observed.silences)
        chain = Chain()
        if link is None:
            silences[CHAIN] = self._now()
        else:
            addresses = sorted({key.address for key in observed.keys.values() if key.address})
            found = await self.links.observe(link, addresses, wants.queries)
            if found is None:
                silent = link.silent_since or self._monotonic()
                silences[CHAIN] = self._now() - int(self._monotonic() - silent)
            else:
                chain = found
        return replace(observed, members=seen, chain=chain, silences=silences)

    def link(self, network: Resource) -> NetworkLink | None:
        """How the network's chain is reached: through any of its validators that has a pod."""
        hosts = []
        for workload in self.cache.select("StatefulSet", network.namespace, {names.NETWORK: network.name}):
            labels = workload["metadata"]["labels"]
            if labels.get("app.kubernetes.io/component") == "validator":
                member = labels[names.MEMBER]
                pod = self.cache.get("Pod", network.namespace, f"{member}-0")
                if pod is not None and _is_running(pod):
                    hosts.append(self.where(network.namespace, member))
        return self.links.open((network.namespace, network.name), hosts, self.identity_folder(network))

    def identity_folder(self, network: Resource) -> Path:
        """Where the operator's own certificate for a network lies."""
        return self.run_dir / f"{network.namespace}-{network.name}"

    def where(self, namespace: str, member: str) -> Where:
        name = f"{member}.{namespace}.svc"
        return Where(self._layout().addresses.get(member, name), name)

    def _members(self, resource: Resource) -> dict[str, MemberFacts]:
        """What is seen of a resource's members; of a Network those of everything that names it too."""
        namespace = resource.namespace
        labels = {names.RESOURCE: resource.name, names.KIND: resource.kind}
        if resource.kind == "Network":
            labels = {names.NETWORK: resource.name}
        found: dict[str, dict[str, Object]] = {}
        for kind in ("StatefulSet", "Pod", "PersistentVolumeClaim"):
            for object_ in self.cache.select(kind, namespace, labels):
                member = object_["metadata"]["labels"].get(names.MEMBER)
                if member is not None:
                    found.setdefault(member, {})[kind] = object_
        return {name: self._member_objects(name, objects) for name, objects in found.items()}

    def _member_objects(self, name: str, objects: Mapping[str, Object]) -> MemberFacts:
        any_object = next(iter(objects.values()))
        workload, pod, claim = (objects.get(kind) for kind in ("StatefulSet", "Pod", "PersistentVolumeClaim"))
        return MemberFacts(
            name,
            int(any_object["metadata"]["labels"][names.ORDINAL]),
            None if workload is None else read_workload(workload),
            None if pod is None else self._pod(pod),
            None if claim is None else read_volume(claim),
        )

    def _pod(self, found: Object) -> Pod:
        node = found["spec"].get("nodeName", "")
        machine = self.cache.get("Node", "", node) if node and self._watches_nodes else None
        return read_pod(found, machine, now=self._now())

    async def _member(self, link: NetworkLink | None, namespace: str, facts: MemberFacts) -> MemberFacts:
        certificate = await self._certificate(namespace, names.tls_secret(facts.name))
        status = None
        where = (namespace, facts.name)
        if link is not None and facts.pod is not None and facts.pod.phase == "Running":
            status = await self.links.member_status(link, facts.name, self.where(namespace, facts.name))
        if status is not None or facts.pod is None:
            self._silent.pop(where, None)
        else:
            self._silent.setdefault(where, self._now())
        return replace(facts, certificate=certificate, status=status, silent_since=self._silent.get(where))

    async def _keys(self, namespace: str, refs: Iterable[KeyRef]) -> dict[KeyRef, KeyFacts]:
        found: dict[KeyRef, KeyFacts] = {}
        for ref in dict.fromkeys(refs):
            secret = await self.secrets.get(namespace, ref.secret)
            facts = None if secret is None else keys.read(secret, ref.field)
            if facts is not None:
                found[ref] = facts
        return found

    async def _secret_fields(self, namespace: str, wanted: Iterable[str]) -> dict[str, tuple[str, ...]]:
        found = {}
        for name in wanted:
            secret = await self.secrets.get(namespace, name)
            if secret is not None:
                found[name] = tuple(keys.data_of(secret))
        return found

    async def _certificate(self, namespace: str, name: str) -> Certificate | None:
        secret = await self.secrets.get(namespace, name)
        text = None if secret is None else keys.data_of(secret).get("tls.crt")
        if not text:
            return None
        facts = ca.read(text)
        return Certificate(facts.not_before, facts.not_after, facts.fingerprint, facts.issuer)

    async def _authority(self, network: Resource) -> Authority | None:
        secret = await self.secrets.get(network.namespace, names.authority(network.name))
        if secret is None:
            return None
        data = keys.data_of(secret)
        facts = ca.read(data["ca.crt"])
        annotations = secret["metadata"].get("annotations") or {}
        following = ca.read(data["next.crt"]).issuer if data.get("next.crt") else None
        return Authority(
            facts.issuer,
            facts.not_after,
            annotations.get("theblock.dev/ca-phase", "Settled"),
            int(annotations.get("theblock.dev/ca-phase-since", "0")),
            following,
        )

    def _genesis(self, network: Resource) -> Genesis | None:
        found = self.cache.get("ConfigMap", network.namespace, names.genesis(network.name))
        text = None if found is None else found.get("data", {}).get("genesis.json")
        if text is None:
            return None
        return Genesis(json.loads(text), hashlib.sha256(text.encode()).hexdigest())

    def _nodes(self) -> list[Node]:
        requested: dict[str, dict[str, int]] = {}
        for pod in self.cache.all("Pod"):
            node = pod["spec"].get("nodeName")
            if not node or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                continue
            for container in pod["spec"].get("containers", ()):
                for name, amount in (container.get("resources", {}).get("requests") or {}).items():
                    if "/" in name:
                        sums = requested.setdefault(node, {})
                        sums[name] = sums.get(name, 0) + int(amount)
        return [read_node(found, requested) for found in self.cache.select("Node", "")]


def read_resource(kind: str, found: Object) -> Resource:
    meta = found["metadata"]
    deleted = meta.get("deletionTimestamp")
    return Resource(
        kind=kind,
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        created=parse_rfc3339(meta["creationTimestamp"]),
        spec=found.get("spec") or {},
        status=found.get("status") or {},
        annotations=meta.get("annotations") or {},
        labels=meta.get("labels") or {},
        finalizers=tuple(meta.get("finalizers") or ()),
        deleting=deleted is not None,
        deleting_since=None if deleted is None else parse_rfc3339(deleted),
    )


def read_workload(found: Object) -> Workload:
    meta, spec = found["metadata"], found["spec"]
    template = spec["template"]
    containers = template["spec"]["containers"]
    return Workload(
        uid=meta["uid"],
        revision=template["metadata"].get("annotations", {}).get(names.REVISION, ""),
        replicas=spec.get("replicas", 1),
        created=parse_rfc3339(meta["creationTimestamp"]),
        annotations=meta.get("annotations") or {},
        image=containers[0].get("image", ""),
        deleting=meta.get("deletionTimestamp") is not None,
    )


def read_volume(found: Object) -> Volume:
    meta = found["metadata"]
    requests = found["spec"]["resources"]["requests"]
    size = requests["storage"]
    return Volume(meta["name"], meta["uid"], parse_bytes(size), meta.get("deletionTimestamp") is not None)


def read_pod(found: Object, machine: Object | None, *, now: int) -> Pod:
    meta, spec, status = found["metadata"], found["spec"], found.get("status") or {}
    conditions = {row["type"]: row for row in status.get("conditions", ())}
    ready = conditions.get("Ready", {})
    scheduled = conditions.get("PodScheduled", {})
    is_stuck = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    machine_ready = {row["type"]: row["status"] for row in (machine or {}).get("status", {}).get("conditions", ())}
    trouble, exit_code = _trouble(status)
    return Pod(
        uid=meta["uid"],
        created=parse_rfc3339(meta["creationTimestamp"]),
        revision=(meta.get("annotations") or {}).get(names.REVISION, ""),
        phase=status.get("phase", "Pending"),
        ready=ready.get("status") == "True",
        ready_since=parse_rfc3339(ready["lastTransitionTime"]) if ready.get("lastTransitionTime") else 0,
        node=spec.get("nodeName", ""),
        unschedulable_since=parse_rfc3339(scheduled["lastTransitionTime"]) if is_stuck else None,
        trouble=trouble,  # type: ignore[arg-type]
        exit_code=exit_code,
        node_lost=machine is not None and machine_ready.get("Ready") == "Unknown",
        deleting=meta.get("deletionTimestamp") is not None,
    )


def _trouble(status: Object) -> tuple[str, int | None]:
    """What keeps a container from running, and how the node's last run ended."""
    trouble, exit_code = "", None
    for container in status.get("containerStatuses", ()):
        reason = container.get("state", {}).get("waiting", {}).get("reason", "")
        if reason in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"):
            trouble = "ImagePullFailed"
        elif reason == "CrashLoopBackOff" and container.get("restartCount", 0) >= CRASH_RESTARTS:
            trouble = "CrashLooping"
        ended = container.get("lastState", {}).get("terminated") or container.get("state", {}).get("terminated")
        if container["name"] == "node" and ended is not None:
            exit_code = ended.get("exitCode")
    return trouble, exit_code


def read_node(found: Object, requested: Mapping[str, Mapping[str, int]]) -> Node:
    meta, status = found["metadata"], found.get("status") or {}
    conditions = {row["type"]: row["status"] for row in status.get("conditions", ())}
    allocatable = {name: int(amount) for name, amount in (status.get("allocatable") or {}).items() if "/" in name}
    return Node(
        name=meta["name"],
        labels=meta.get("labels") or {},
        schedulable=not found["spec"].get("unschedulable", False),
        ready=conditions.get("Ready") == "True",
        allocatable=allocatable,
        requested=requested.get(meta["name"], {}),
    )


def _is_running(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp"))

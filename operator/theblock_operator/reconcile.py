"""Observe, decide, act, report: the same for every kind, with Kubernetes and without.

The kind decides; here its acts are carried out in order, each harmless when done twice. An act that fails ends the
visit, and the key comes back later. Levels write only where something differs from what was last applied and seen,
so a network at rest causes no writes.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from theblock_node.client.errors import RefusedError, UnavailableError

from theblock_operator import acts, ca, keys, names
from theblock_operator.api import REST, Api, ApiError, Conflict, Invalid, NotFound
from theblock_operator.cache import Key
from theblock_operator.events import Reason
from theblock_operator.kinds import BY_NAME
from theblock_operator.kinds.kind import InvalidSpec, Kind
from theblock_operator.objects import config, rendering, secrets
from theblock_operator.objects.labels import owner_of, resource_labels, workload_owner
from theblock_operator.observe import Observer
from theblock_operator.observed import Fence, KeyRef, Object, Observed, Resource
from theblock_operator.status import (
    Condition,
    Status,
    conditions_of,
    is_worth_writing,
    load_moved,
    needs_refresh,
    not_yet_observed,
    render,
    rfc3339,
)

log = logging.getLogger(__name__)
EVENT_REPEAT_S = 600
"""The same event again within this time is not told again."""
INVALID_AGAIN_S = 300
SOON_S = 2.0
"""What is accepted and not ready is looked at again so soon: most of what it waits for is told by no watch."""
CA_PHASE = "theblock.dev/ca-phase"
CA_PHASE_SINCE = "theblock.dev/ca-phase-since"
OPERATOR_CERT_SECONDS = 7 * 24 * 3600
OPERATOR_CERT_RENEW_SECONDS = 24 * 3600
SHARED_KINDS = ("Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy")


@dataclass(frozen=True, slots=True)
class Visit:
    """What a look at a key led to."""

    result: str
    """done, acted, invalid, or gone."""
    again_s: float | None
    """When the key should be looked at again, whatever happens."""
    concerns: tuple[Key, ...] = ()
    """Others that wait for what was made, and are told of it by no watch: keys and authorities are Secrets."""


class Reconciler:
    """Carries plans out. One visit of a key at a time; the queue sees to that."""

    def __init__(
        self,
        api: Api,
        observer: Observer,
        *,
        now: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        figures_s: float | None = None,
    ) -> None:
        self._api = api
        self._observer = observer
        self._now = now
        self._monotonic = monotonic
        self._figures_s = figures_s
        self._applied: dict[tuple[str, str, str], tuple[str, str]] = {}
        """(kind, namespace, name) -> (hash of what was applied, uid of the object)."""
        self._told: dict[tuple[str, str, str], float] = {}
        self._status_written: dict[Key, int] = {}
        self._rejected: dict[str, int] = {}
        self._parsed: dict[Key, tuple[tuple[str, int], Any]] = {}
        """(uid, generation) and the spec that was read: it is the same until either moves."""

    async def visit(self, key: Key) -> Visit:
        kind = BY_NAME[key[0]]
        resource = self._observer.resource(key)
        if resource is None:
            self._parsed.pop(key, None)
            return Visit("gone", None)
        try:
            spec = self._parse(key, kind, resource)
        except InvalidSpec as refused:
            await self._report_invalid(kind, resource, refused)
            return Visit("invalid", INVALID_AGAIN_S)
        if resource.kind == "Network":
            await self._ensure_identity(resource)
        observed = await self._observer.observe(key, kind, spec)
        if observed is None:
            return Visit("gone", None)
        now = self._now()
        await self._tell_of_commands(observed)
        plan = kind.plan(spec, observed, now)
        failure: Exception | None = None
        for act in plan.acts:
            try:
                await self._carry_out(observed, act)
            except (ApiError, UnavailableError, RefusedError, keys.BadKey) as failed:
                failure = failed
                break
        if any(isinstance(act, acts.RemoveFinalizer) for act in plan.acts) and failure is None:
            return Visit("acted", None)
        status = kind.judge(spec, observed, now)
        await self._report(kind, observed, status, now)
        if failure is not None:
            raise failure
        steps = [act for act in plan.acts if not type(act).__name__.startswith("Ensure")]
        again_s: float | None = plan.requeue.after_s if plan.requeue else None
        if again_s is not None and _is_on_the_way(status):
            again_s = min(again_s, SOON_S)
        if again_s is not None and self._figures_s is not None and "jobs" in status.fields:
            again_s = min(again_s, self._figures_s)
        made_secrets = any(isinstance(act, (acts.CreateKey, acts.CreateAuthority)) for act in plan.acts)
        return Visit("acted" if steps else "done", again_s, _in_network(observed) if made_secrets else ())

    def _parse(self, key: Key, kind: Kind, resource: Resource) -> Any:
        version = (resource.uid, resource.generation)
        known = self._parsed.get(key)
        if known is None or known[0] != version:
            spec = kind.parse({"metadata": {"name": resource.name}, "spec": resource.spec})
            known = self._parsed[key] = (version, spec)
        return known[1]

    # Acts.

    async def _carry_out(self, observed: Observed, act: acts.Act) -> None:
        resource = observed.resource
        namespace = resource.namespace
        match act:
            case acts.EnsureFinalizer():
                finalizers = sorted({*resource.finalizers, names.FINALIZER})
                await self._api.patch(resource.kind, namespace, resource.name, {"metadata": {"finalizers": finalizers}})
            case acts.RemoveFinalizer():
                finalizers = [name for name in resource.finalizers if name != names.FINALIZER]
                await self._api.patch(resource.kind, namespace, resource.name, {"metadata": {"finalizers": finalizers}})
            case acts.EnsureShared(objects):
                await self._ensure_shared(resource, objects)
            case acts.EnsurePeers(network, document):
                found = self._network(observed)
                assert found.name == network
                await self._apply(config.peers(found, document, owner_of(found)))
            case acts.EnsureMember(member):
                await self._ensure_member(observed, member)
            case acts.CreateKey():
                await self._create_key(observed, act)
            case acts.CreateAuthority():
                await self._create_authority(resource, act.seconds)
            case acts.StepAuthority():
                await self._step_authority(resource, act.phase)
            case acts.IssueCertificate():
                await self._issue(observed, act)
            case acts.RecordFence(ref, fence):
                await self._annotate_secret(namespace, ref, secrets.fence_annotations(fence))
            case acts.MarkKeyUsed(ref, digest):
                await self._annotate_secret(namespace, ref, {names.USED_ON: digest})
            case acts.SealGenesis():
                await self._seal(resource, act)
            case acts.Transfer():
                link = self._observer.link(self._network(observed))
                if link is not None:
                    await self._observer.links.transfer(link, act, await self._seed(namespace, act.source))
            case acts.ChainCall():
                await self._call(observed, act)
            case acts.SetDrain(member, since):
                await self._set_drain(observed, member, since)
            case acts.RollMember(member, uid) | acts.DeletePod(member, uid, force=False):
                await self._api.delete("Pod", namespace, f"{member}-0", uid=uid)
            case acts.DeletePod(member, uid):
                await self._api.delete("Pod", namespace, f"{member}-0", uid=uid, grace_seconds=0)
            case acts.StopMember(member, uid):
                self._applied.pop(("StatefulSet", namespace, member), None)
                patch = {"metadata": {"uid": uid}, "spec": {"replicas": 0}}
                await self._api.patch("StatefulSet", namespace, member, patch)
            case acts.RemoveMember(member, uid):
                self._applied.pop(("StatefulSet", namespace, member), None)
                await self._api.delete("StatefulSet", namespace, member, uid=uid)
            case acts.GrowVolume(volume, size):
                patch = {"spec": {"resources": {"requests": {"storage": size}}}}
                await self._api.patch("PersistentVolumeClaim", namespace, volume, patch)
            case acts.DeleteVolume(volume, uid):
                await self._api.delete("PersistentVolumeClaim", namespace, volume, uid=uid)
            case acts.Emit(reason, message):
                await self._emit(resource, reason, message)

    async def _ensure_member(self, observed: Observed, member: Any) -> None:
        """The StatefulSet, and what its uid owns; each written only where it differs."""
        resource = observed.resource
        applied = await self._apply(rendering.render_workload(member, owner_of(resource)))
        for object_ in rendering.render_attached(member, applied["metadata"]["uid"]):
            await self._apply(object_)

    async def _ensure_shared(self, resource: Resource, objects: tuple[Object, ...]) -> None:
        for object_ in objects:
            await self._apply(object_)
        wanted = {(object_["kind"], object_["metadata"]["name"]) for object_ in objects}
        labels = {names.RESOURCE: resource.name, names.KIND: resource.kind}
        for kind in SHARED_KINDS:
            for found in list(self._observer.cache.select(kind, resource.namespace, labels)):
                meta = found["metadata"]
                is_ours = any(owner.get("uid") == resource.uid for owner in meta.get("ownerReferences", ()))
                if is_ours and (kind, meta["name"]) not in wanted:
                    await self._api.delete(kind, resource.namespace, meta["name"], uid=meta["uid"])

    async def _apply(self, object_: Object) -> Object:
        """Server-side apply, unless the very same was applied and the object it made is still there."""
        meta = object_["metadata"]
        where = (object_["kind"], meta["namespace"], meta["name"])
        digest = hashlib.sha256(json.dumps(object_, sort_keys=True).encode()).hexdigest()
        seen = self._observer.cache.get(*where)
        applied = self._applied.get(where)
        if seen is not None and applied == (digest, seen["metadata"]["uid"]) and _still_says(object_, seen):
            return seen
        made = await self._api.apply(object_)
        self._applied[where] = (digest, made["metadata"]["uid"])
        return made

    async def _create_key(self, observed: Observed, act: acts.CreateKey) -> None:
        network = observed.network
        fence = Fence(1, "", act.resource_uid) if act.purpose == "node" else None
        network_name = network.name if network else observed.resource.name
        made = keys.make(observed.resource, network_name, act.ref, fence)
        try:
            await self._api.create(made)
        except Conflict:
            log.info("key %s exists and is used as it is", act.ref.secret)
        self._observer.secrets.forget(observed.resource.namespace, act.ref.secret)

    async def _annotate_secret(self, namespace: str, ref: KeyRef, annotations: dict[str, str]) -> None:
        made = await self._api.patch("Secret", namespace, ref.secret, {"metadata": {"annotations": annotations}})
        self._observer.secrets.put(made)

    async def _create_authority(self, network: Resource, seconds: int) -> None:
        name = names.authority(network.name)
        secret = await self._observer.secrets.get(network.namespace, name)
        if secret is None:
            pair = ca.make_authority(network.name, now=self._now(), seconds=seconds)
            made: Object = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": name,
                    "namespace": network.namespace,
                    "labels": {**resource_labels(network, network.name, "ca"), names.KEEP: "true"},
                    "annotations": {CA_PHASE: "Settled", CA_PHASE_SINCE: str(self._now())},
                },
                "type": "Opaque",
                "stringData": {"ca.crt": pair.certificate, "ca.key": pair.key},
            }
            try:
                await self._api.create(made)
            except Conflict:
                log.info("authority %s exists and is used as it is", name)
            self._observer.secrets.forget(network.namespace, name)
        await self._write_bundle(network)

    async def _write_bundle(self, network: Resource) -> None:
        secret = await self._observer.secrets.get(network.namespace, names.authority(network.name))
        assert secret is not None
        data = keys.data_of(secret)
        trusted = [data[field] for field in ("ca.crt", "next.crt", "previous.crt") if data.get(field)]
        await self._apply(config.bundle(network, "".join(trusted), owner_of(network)))

    async def _step_authority(self, network: Resource, phase: str) -> None:
        """One step of the rotation: trust the new, issue from it, retire the old, settle."""
        name = names.authority(network.name)
        secret = await self._observer.secrets.get(network.namespace, name)
        assert secret is not None
        data = keys.data_of(secret)
        told: dict[str, str | None] = {}
        if phase == "Trust":
            pair = ca.make_authority(network.name, now=self._now(), seconds=5 * 365 * 24 * 3600)
            told = {"next.crt": pair.certificate, "next.key": pair.key}
        elif phase == "Issue":
            told = {
                "previous.crt": data["ca.crt"],
                "ca.crt": data["next.crt"],
                "ca.key": data["next.key"],
                "next.crt": None,
                "next.key": None,
            }
        elif phase == "Settled":
            told = {"previous.crt": None}
        patch: Object = {
            "metadata": {"annotations": {CA_PHASE: phase, CA_PHASE_SINCE: str(self._now())}},
            "data": {field: None for field, value in told.items() if value is None},
            "stringData": {field: value for field, value in told.items() if value is not None},
        }
        self._observer.secrets.put(await self._api.patch("Secret", network.namespace, name, patch))
        await self._write_bundle(network)

    async def _authority(self, network: Resource) -> ca.Pair | None:
        secret = await self._observer.secrets.get(network.namespace, names.authority(network.name))
        if secret is None:
            return None
        data = keys.data_of(secret)
        return ca.Pair(data["ca.crt"], data["ca.key"])

    async def _issue(self, observed: Observed, act: acts.IssueCertificate) -> None:
        network = self._network(observed)
        authority = await self._authority(network)
        assert authority is not None
        pair = ca.issue(
            authority,
            common_name=act.member or act.secret,
            dns_names=act.dns_names,
            uri=act.uri,
            now=self._now(),
            seconds=act.seconds,
            addresses=self._addresses(network.namespace, act.member),
        )
        owner = None
        if act.member is not None:
            workload = self._observer.cache.get("StatefulSet", network.namespace, act.member)
            uid = workload["metadata"]["uid"] if workload else self._applied_uid(network.namespace, act.member)
            owner = workload_owner(act.member, uid)
        made = secrets.tls(
            observed.resource,
            network.name,
            name=act.secret,
            certificate=pair.certificate,
            private_key=pair.key,
            owner=owner,
            authority="" if act.member else authority.certificate,
        )
        self._observer.secrets.put(await self._api.apply(made))

    def _addresses(self, namespace: str, member: str | None) -> list[str]:
        """The address by which a member is reached in place of a name (the embedded run); its certificate names it."""
        host = "" if member is None else self._observer.where(namespace, member).host
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            return []

    def _applied_uid(self, namespace: str, member: str) -> str:
        return self._applied[("StatefulSet", namespace, member)][1]

    async def _ensure_identity(self, network: Resource) -> None:
        """The operator's own certificate for a network, in files beside it; renewed a day before it ends."""
        folder = self._observer.identity_folder(network)
        authority = await self._authority(network)
        if authority is None:
            return
        bundle = self._observer.cache.get("ConfigMap", network.namespace, names.bundle(network.name))
        trusted = bundle["data"]["ca.crt"] if bundle else authority.certificate
        current = folder / "tls.crt"
        issuer = ca.read(authority.certificate).issuer
        if current.exists() and (folder / "ca.crt").read_text() == trusted:
            facts = ca.read(current.read_text())
            if facts.issuer == issuer and facts.not_after - self._now() > OPERATOR_CERT_RENEW_SECONDS:
                return
        pair = ca.issue(
            authority,
            common_name="operator",
            dns_names=[],
            uri=names.operator_uri(network.name),
            now=self._now(),
            seconds=OPERATOR_CERT_SECONDS,
        )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file, text in (("ca.crt", trusted), ("tls.key", pair.key), ("tls.crt", pair.certificate)):
            (folder / file).write_text(text)

    async def _seal(self, network: Resource, act: acts.SealGenesis) -> None:
        try:
            await self._api.create(config.genesis(network, act.document, act.sha256))
        except Conflict:
            log.info("the genesis of %s exists and counts as it is", network.name)
        else:
            self._observer.links.begin((network.namespace, network.name))

    async def _call(self, observed: Observed, act: acts.ChainCall) -> None:
        link = self._observer.link(self._network(observed))
        if link is None:
            return
        namespace = observed.resource.namespace
        links = self._observer.links
        seed = await self._seed(namespace, act.signer)
        arguments = json.loads(json.dumps(dict(act.args)))
        for fill in act.fills:
            if fill.how == "identity_proof":
                owner = observed.keys[act.signer].address
                proof = await links.identity_proof(link, await self._seed(namespace, fill.ref), owner)
            else:
                where = self._observer.where(namespace, fill.member)
                proof = await links.possession(link, fill.member, where, fill.provider_id, fill.key_version)
            _put(arguments, fill.argument, proof)
        await links.send(link, act, seed, arguments)

    async def _tell_of_commands(self, observed: Observed) -> None:
        """Events of what became final, or was refused, of the commands sent for a resource."""
        network = observed.network
        link = None if network is None else self._observer.link(network)
        if link is not None:
            for reason, why in self._observer.links.take_news(link, observed.resource.uid):
                await self._emit(observed.resource, reason, why)

    async def _set_drain(self, observed: Observed, member: str, since: int | None) -> None:
        network = self._network(observed)
        namespace = observed.resource.namespace
        link = self._observer.link(network)
        if link is not None:
            await self._observer.links.drain(link, member, self._observer.where(namespace, member), since is not None)
        value = None if since is None else str(since)
        patch = {"metadata": {"annotations": {names.DRAINING_SINCE: value}}}
        await self._api.patch("StatefulSet", namespace, member, patch)

    async def _seed(self, namespace: str, ref: KeyRef) -> bytes:
        secret = await self._observer.secrets.get(namespace, ref.secret)
        if secret is None:
            raise keys.BadKey(f"Secret {ref.secret} is gone")
        return keys.read_seed(secret, ref.field)

    def _network(self, observed: Observed) -> Resource:
        network = observed.network
        assert network is not None
        return network

    # Telling.

    async def _report(self, kind: Kind, observed: Observed, status: Status, now: int) -> None:
        """Write the status where something besides quiet figures changed, or the Network wants them fresh."""
        resource = self._observer.resource((kind.name, observed.resource.namespace, observed.resource.name))
        if resource is None or resource.uid != observed.resource.uid:
            return
        after = render(status, resource.status, generation=resource.generation, now=now)
        key = (resource.kind, resource.namespace, resource.name)
        network = observed.network
        every = int((network.spec if network else {}).get("statusRefreshSeconds", 0))
        refresh = needs_refresh(
            resource.status, after, last_write=self._status_written.get(key, 0), refresh_seconds=every, now=now
        )
        is_old = self._figures_s is not None and now - self._status_written.get(key, 0) >= self._figures_s
        moved = is_old and load_moved(resource.status, after)
        if not (is_worth_writing(resource.status, after) or refresh or moved):
            return
        for reason, message in kind.news(conditions_of(resource.status), status):
            await self._emit(resource, reason, message)
        asked = resource.annotations.get(names.RECONCILE_AT)
        if asked:
            after["lastReconcileAt"] = asked
        try:
            await self._api.apply_status(resource.kind, resource.namespace, resource.name, after)
        except NotFound:
            return
        self._status_written[key] = now

    async def _report_invalid(self, kind: Kind, resource: Resource, refused: InvalidSpec) -> None:
        """A spec that got past admission and cannot be read: said once for each generation."""
        if self._rejected.get(resource.uid) == resource.generation:
            return
        conditions = tuple(
            Condition("Ready", "False", "NotAccepted", str(refused)) if condition.type == "Ready"
            else Condition("Accepted", "False", "NotSupported", str(refused)) if condition.type == "Accepted"
            else condition
            for condition in not_yet_observed(kind.conditions)
        )  # fmt: skip
        status = render(Status(conditions), resource.status, generation=resource.generation, now=self._now())
        await self._api.apply_status(resource.kind, resource.namespace, resource.name, status)
        await self._emit(resource, Reason.Rejected, str(refused))
        self._rejected[resource.uid] = resource.generation

    async def _emit(self, resource: Resource, reason: Reason, message: str) -> None:
        told = (resource.uid, reason.value, message)
        now = self._monotonic()
        if now - self._told.get(told, -EVENT_REPEAT_S) < EVENT_REPEAT_S:
            return
        self._told = {key: at for key, at in self._told.items() if now - at < EVENT_REPEAT_S}
        self._told[told] = now
        digest = hashlib.sha256("/".join((*told, str(self._now()))).encode()).hexdigest()[:16]
        event: Object = {
            "apiVersion": REST["Event"].api_version,
            "kind": "Event",
            "metadata": {"name": f"{resource.name}.{digest}", "namespace": resource.namespace},
            "eventTime": rfc3339(self._now())[:-1] + ".000000Z",
            "reportingController": "theblock.dev/operator",
            "reportingInstance": "theblock-operator",
            "action": reason.value,
            "reason": reason.value,
            "type": reason.type,
            "note": message[:1024],
            "regarding": {
                "apiVersion": REST[resource.kind].api_version,
                "kind": resource.kind,
                "name": resource.name,
                "namespace": resource.namespace,
                "uid": resource.uid,
            },
        }
        try:
            await self._api.create(event)
        except (Conflict, Invalid) as failed:
            log.warning("the event %s was not taken: %s", reason.value, failed)


def _still_says(wanted: Object, seen: Object) -> bool:
    """Nobody has taken away or changed what we said: every field of ``wanted`` is in ``seen``, but for defaults.

    Only what people change in earnest is compared: labels, data, replicas, and the template's revision.
    """
    labels = seen["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in wanted["metadata"].get("labels", {}).items()):
        return False
    if "data" in wanted and wanted["data"] != seen.get("data"):
        return False
    if wanted["kind"] != "StatefulSet":
        return True
    revision = seen["spec"]["template"]["metadata"].get("annotations", {}).get(names.REVISION)
    return bool(
        wanted["spec"]["replicas"] == seen["spec"].get("replicas")
        and wanted["spec"]["template"]["metadata"]["annotations"][names.REVISION] == revision
    )


def _is_on_the_way(status: Status) -> bool:
    """Accepted, not paused, and not ready yet."""
    said = {condition.type: condition.status for condition in status.conditions}
    return said.get("Accepted", "True") == "True" and said.get("Paused") != "True" and said.get("Ready") != "True"


def _in_network(observed: Observed) -> tuple[Key, ...]:
    """All resources of the network that a resource names or is."""
    network = observed.network
    return tuple(
        (near.kind, near.namespace, near.name)
        for near in observed.neighbours
        if network is not None and (near.uid == network.uid or near.spec.get("network") == network.name)
    )


def _put(arguments: Any, path: tuple[str | int, ...], value: str) -> None:
    for step in path[:-1]:
        arguments = arguments[step]
    arguments[path[-1]] = value

"""What a StatefulSet of one makes, and what is told of it: claims, pods, their status. Pure; `processes.py` acts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from theblock_operator import names
from theblock_operator.observed import Object
from theblock_operator.status import rfc3339

MACHINE = "local"
CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
BACK_OFF_FIRST_S = 0.5
BACK_OFF_MAX_S = 30.0
SETTLED_S = 60.0
"""A container that ran for so long begins again without waiting."""
LIVENESS_S = 60.0
"""A process that has answered once and is silent for so long is ended and started again."""


@dataclass(frozen=True, slots=True)
class Container:
    """One process of a pod, as it is now."""

    name: str
    runs: bool
    restarts: int = 0
    started: int = 0
    """Unix seconds of the last start."""
    ended: int = 0
    exit_code: int | None = None
    """Of the last run that ended; None: none has."""
    ready: bool = False
    due: bool = True
    """It may start now: its back-off is over."""
    dead: bool = False
    """It runs, and has not answered its liveness probe for too long."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is seen of one member."""

    member: str
    workload: Object | None
    pod: Object | None
    claim: Object | None
    containers: Sequence[Container]
    missing: str = ""
    """A ConfigMap or Secret that the pod mounts and that is not there, or no address; empty: nothing."""


@dataclass(frozen=True, slots=True)
class MakeClaim:
    object: Object


@dataclass(frozen=True, slots=True)
class MakePod:
    object: Object


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Ask for the end of a pod that nothing wants."""


@dataclass(frozen=True, slots=True)
class RemovePod:
    """The pod's processes are gone: so may be the object."""


@dataclass(frozen=True, slots=True)
class RemoveClaim:
    """The claim is deleted and unused: so may be the folder."""


@dataclass(frozen=True, slots=True)
class Start:
    container: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End all containers, or the one."""

    grace_s: float
    container: str | None = None


Step = MakeClaim | MakePod | DeletePod | RemovePod | RemoveClaim | Start | Stop


def plan(scene: Scene) -> list[Step]:
    """The next steps towards what the workload wants; the same scene without its steps yields none."""
    workload, pod = scene.workload, scene.pod
    wanted = workload is not None and not is_deleting(workload) and workload["spec"].get("replicas", 1) > 0
    running = any(container.runs for container in scene.containers)
    if pod is None:
        if running:
            return [Stop(0.0)]  # It was deleted by force: nobody waits for its processes.
        if wanted:
            assert workload is not None
            return _make(workload, scene.claim)
        return [RemoveClaim()] if scene.claim is not None and is_deleting(scene.claim) else []
    if is_deleting(pod):
        grace = float(pod["metadata"].get("deletionGracePeriodSeconds", 30))
        return [Stop(grace)] if running else [RemovePod()]
    if not wanted:
        return [DeletePod()]
    if scene.missing:
        return []
    steps: list[Step] = [Stop(5.0, container.name) for container in scene.containers if container.dead]
    return steps + [Start(one.name) for one in scene.containers if not one.runs and one.due]


def _make(workload: Object, claim: Object | None) -> list[Step]:
    """A claim that is being deleted must go before its member may have another."""
    templates = workload["spec"].get("volumeClaimTemplates") or ()
    if claim is not None and is_deleting(claim):
        return [RemoveClaim()]
    claims: list[Step] = [MakeClaim(render_claim(workload, templates[0]))] if templates and claim is None else []
    return [*claims, MakePod(render_pod(workload))]


def back_off_s(restarts: int, ran_s: float) -> float:
    """How long a container that ended waits before it starts again."""
    if ran_s >= SETTLED_S or restarts <= 0:
        return BACK_OFF_FIRST_S
    return min(BACK_OFF_MAX_S, BACK_OFF_FIRST_S * 2.0 ** min(restarts, 10))


def is_deleting(object_: Object) -> bool:
    return object_["metadata"].get("deletionTimestamp") is not None


def render_claim(workload: Object, template: Object) -> Object:
    meta = workload["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": f"{template['metadata']['name']}-{meta['name']}-0",
            "namespace": meta["namespace"],
            "labels": {**template["metadata"].get("labels", {}), **workload["spec"]["selector"]["matchLabels"]},
            "finalizers": [CLAIM_FINALIZER],
        },
        "spec": template["spec"],
    }


def render_pod(workload: Object) -> Object:
    meta, template = workload["metadata"], workload["spec"]["template"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{meta['name']}-0",
            "namespace": meta["namespace"],
            "labels": template["metadata"].get("labels", {}),
            "annotations": template["metadata"].get("annotations", {}),
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "StatefulSet",
                    "name": meta["name"],
                    "uid": meta["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {**template["spec"], "nodeName": MACHINE},
    }


def render_machine(created: Object | None = None) -> Object:
    """The one machine that there is, as a Node; it has no extended resources."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": MACHINE, "labels": {"kubernetes.io/hostname": MACHINE}},
        "spec": {},
        **({"status": created["status"]} if created and "status" in created else {}),
    }


MACHINE_STATUS: Mapping[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {}}


def render_status(pod: Object, containers: Iterable[Container], *, address: str, missing: str, now: int) -> Object:
    """The status of a pod whose containers are as told."""
    rows = [_container_status(container, missing) for container in containers]
    phase = "Running" if any("running" in row["state"] or row["restartCount"] for row in rows) else "Pending"
    ready = bool(rows) and all(row["ready"] for row in rows) and not is_deleting(pod)
    before = {row["type"]: row for row in (pod.get("status") or {}).get("conditions", ())}
    wanted: list[tuple[str, bool, str]] = [
        ("PodScheduled", True, ""),
        ("Ready", ready, "" if ready else "ContainersNotReady"),
    ]
    conditions = []
    for name, holds, reason in wanted:
        status = "True" if holds else "False"
        was = before.get(name)
        at = was["lastTransitionTime"] if was is not None and was["status"] == status else rfc3339(now)
        told = {"reason": reason} if reason else {}
        conditions.append({"type": name, "status": status, "lastTransitionTime": at, **told})
    return {"phase": phase, "podIP": address, "conditions": conditions, "containerStatuses": rows}


def _container_status(container: Container, missing: str) -> Object:
    state: Object
    if container.runs:
        state = {"running": {"startedAt": rfc3339(container.started)}}
    elif missing:
        state = {"waiting": {"reason": "ContainerCreating", "message": missing}}
    elif container.exit_code is not None:
        state = {"waiting": {"reason": "CrashLoopBackOff"}}
    else:
        state = {"waiting": {"reason": "ContainerCreating"}}
    row: Object = {
        "name": container.name,
        "ready": container.ready and container.runs,
        "restartCount": container.restarts,
        "state": state,
    }
    if container.exit_code is not None:
        ended = {"exitCode": container.exit_code, "finishedAt": rfc3339(container.ended)}
        row["lastState"] = {"terminated": ended}
    return row


# Volumes.


@dataclass(frozen=True, slots=True)
class Mount:
    """Files of one ConfigMap or Secret, in a folder of the pod."""

    path: str
    kind: Literal["ConfigMap", "Secret"]
    name: str
    items: tuple[tuple[str, str], ...] = ()
    """(key, file); empty: every key under its own name."""


def mounts_of(pod: Object) -> list[Mount]:
    """What a pod's containers mount of ConfigMaps and Secrets, each path once."""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
    found: dict[str, Mount] = {}
    for container in pod["spec"]["containers"]:
        for mount in container.get("volumeMounts", ()):
            volume = volumes.get(mount["name"], {})
            path = mount["mountPath"]
            if "configMap" in volume:
                source = volume["configMap"]
                found[path] = Mount(path, "ConfigMap", source["name"], _items(source))
            elif "secret" in volume:
                source = volume["secret"]
                found[path] = Mount(path, "Secret", source["secretName"], _items(source))
    return list(found.values())


def files_of(mount: Mount, data: Mapping[str, str]) -> dict[str, str]:
    """The files of a mount, by name; KeyError with the key that the object lacks."""
    if not mount.items:
        return dict(data)
    return {file: data[key] for key, file in mount.items}


def folders_of(pod: Object) -> list[str]:
    """Empty folders that a pod mounts, to be written to."""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
    return sorted(
        {
            mount["mountPath"]
            for container in pod["spec"]["containers"]
            for mount in container.get("volumeMounts", ())
            if "configMap" not in (volume := volumes.get(mount["name"], {})) and "secret" not in volume
        }
    )


def is_on_claim(pod: Object) -> bool:
    """Whether the data of a pod is on a claim, and outlives it."""
    return all(volume["name"] != names.DATA for volume in pod["spec"].get("volumes", ()))


def member_of(object_: Object) -> str | None:
    """The member that a StatefulSet, pod or claim belongs to."""
    found: str | None = object_["metadata"].get("labels", {}).get(names.MEMBER)
    return found


def _items(source: Object) -> tuple[tuple[str, str], ...]:
    return tuple((item["key"], item["path"]) for item in source.get("items", ()))

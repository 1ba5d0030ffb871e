"""What we ask of a chart beyond schemas: pods are restricted, rights are narrow, parts fit together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.charts.rendering import Object

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
CLUSTER_WIDE = frozenset(
    {
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "APIService",
        "PriorityClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
)
BUILT_IN = frozenset({("Role", "extension-apiserver-authentication-reader")})
"""What every cluster has and charts may name."""
FORBIDDEN_VERBS = frozenset({"*", "escalate", "bind", "impersonate"})
FORBIDDEN_RESOURCES = frozenset({"*", "pods/exec", "pods/attach", "pods/portforward", "nodes/proxy"})
MANIFEST_BYTES_MAX = 1_000_000
"""Objects above about 1.5 MB do not fit into etcd, nor a release of such into its Secret."""
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


def find_problems(objects: Sequence[Object]) -> Iterator[tuple[str, str]]:
    """Pairs of an object's name and what is wrong with it."""
    for object_ in objects:
        for problem in (*_of_any(object_), *_of_workload(object_), *_of_role(object_)):
            yield name_of(object_), problem
    yield from _doubles(objects)
    yield from _loose_ends(objects)


def name_of(object_: Object) -> str:
    return f"{object_['kind']} {object_['metadata']['name']}"


def _of_any(object_: Object) -> Iterator[str]:
    meta = object_["metadata"]
    if object_["kind"] in CLUSTER_WIDE:
        if "namespace" in meta:
            yield "is not namespaced, but names a namespace"
    elif not meta.get("namespace"):
        yield "names no namespace"
    for key, value in (meta.get("labels") or {}).items():
        if len(value) > 63 or not LABEL_VALUE.fullmatch(value):
            yield f"label {key}={value!r} is no label value"
    if len(repr(object_)) > MANIFEST_BYTES_MAX:
        yield "is too large"


def _of_workload(object_: Object) -> Iterator[str]:
    if object_["kind"] not in WORKLOADS:
        return
    template = object_["spec"]["template"]
    pod = template["spec"]
    labels = template["metadata"].get("labels", {})
    wanted = object_["spec"]["selector"]["matchLabels"]
    if any(labels.get(key) != value for key, value in wanted.items()):
        yield "its selector does not match its own pods"
    if any(key.startswith(("app.kubernetes.io/version", "helm.sh/")) for key in wanted):
        yield "its selector holds a label that changes with versions"
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "pods may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "pods have no seccomp profile"
    if "automountServiceAccountToken" not in pod:
        yield "does not say whether pods get a token"
    if not pod.get("serviceAccountName"):
        yield "pods use the namespace's default service account"
    if pod.get("hostNetwork") or pod.get("hostPID") or pod.get("hostIPC"):
        yield "pods share the machine's namespaces"
    if any("hostPath" in volume for volume in pod.get("volumes", ())):
        yield "pods mount the machine's files"
    mounted = {volume["name"] for volume in pod.get("volumes", ())}
    mounted |= {claim["metadata"]["name"] for claim in object_["spec"].get("volumeClaimTemplates", ())}
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        for problem in _of_container(container, mounted):
            yield f"container {container['name']}: {problem}"


def _of_container(container: Mapping[str, Any], volumes: set[str]) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if security.get("privileged"):
        yield "is privileged"
    if not security.get("readOnlyRootFilesystem"):
        yield "may write its own file system"
    if security.get("capabilities", {}).get("drop") != ["ALL"] or security.get("capabilities", {}).get("add"):
        yield "keeps capabilities"
    image = container["image"]
    tag = image.rpartition("/")[2].partition(":")[2]
    if "@sha256:" not in image and tag in ("", "latest"):
        yield f"image {image} has no fixed tag"
    for part in ("requests", "limits"):
        for what in ("cpu", "memory"):
            if what not in container.get("resources", {}).get(part, {}):
                yield f"has no {part} of {what}"
    for probe in ("livenessProbe", "readinessProbe"):
        if probe not in container:
            yield f"has no {probe}"
    for mount in container.get("volumeMounts", ()):
        if mount["name"] not in volumes:
            yield f"mounts {mount['name']}, which is no volume"


def _of_role(object_: Object) -> Iterator[str]:
    if object_["kind"] not in ("Role", "ClusterRole"):
        return
    is_peoples = any(key.startswith("rbac.authorization.k8s.io/aggregate-to-") for key in object_["metadata"]["labels"])
    for rule in object_["rules"]:
        verbs, resources, groups = set(rule["verbs"]), set(rule["resources"]), set(rule["apiGroups"])
        if verbs & FORBIDDEN_VERBS or "*" in groups or resources & FORBIDDEN_RESOURCES:
            yield f"allows {sorted(verbs)} on {sorted(resources)}"
        if "secrets" in resources and verbs & {"list", "watch", "delete", "deletecollection"}:
            yield f"may {', '.join(sorted(verbs))} Secrets; by name is enough"
        is_wide = object_["kind"] == "ClusterRole" and not rule.get("resourceNames")
        if is_wide and not is_peoples and verbs - {"get", "list", "watch"}:
            yield f"allows {sorted(verbs)} in the whole cluster"


def _doubles(objects: Sequence[Object]) -> Iterator[tuple[str, str]]:
    counted = Counter((name_of(object_), object_["metadata"].get("namespace", "")) for object_ in objects)
    for (name, namespace), count in counted.items():
        if count > 1:
            yield name, f"stands {count} times in {namespace or 'the cluster'}"


def _loose_ends(objects: Sequence[Object]) -> Iterator[tuple[str, str]]:
    """Names that lead nowhere in the chart."""
    known = {(object_["kind"], object_["metadata"]["name"]) for object_ in objects}
    pods = [
        object_["spec"]["template"]["metadata"].get("labels", {}) for object_ in objects if object_["kind"] in WORKLOADS
    ]
    for object_ in objects:
        kind, spec = object_["kind"], object_.get("spec", {})
        if kind in ("RoleBinding", "ClusterRoleBinding"):
            reference = object_["roleRef"]
            if (reference["kind"], reference["name"]) not in known | BUILT_IN:
                yield name_of(object_), f"binds {reference['kind']} {reference['name']}, which is not here"
            for subject in object_["subjects"]:
                if (subject["kind"], subject["name"]) not in known:
                    yield name_of(object_), f"binds to {subject['kind']} {subject['name']}, which is not here"
        elif kind in ("Service", "PodDisruptionBudget"):
            selector = spec["selector"]
            if not _selects(selector.get("matchLabels", selector), pods):
                yield name_of(object_), "selects no pods"
        elif kind in WORKLOADS:
            account = spec["template"]["spec"].get("serviceAccountName")
            if account and ("ServiceAccount", account) not in known:
                yield name_of(object_), f"runs as ServiceAccount {account}, which is not here"


def _selects(selector: Mapping[str, str], pods: Sequence[Mapping[str, str]]) -> bool:
    return any(all(labels.get(key) == value for key, value in selector.items()) for labels in pods)

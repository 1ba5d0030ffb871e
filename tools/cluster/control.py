"""The control plane's programs: their certificates, files and command lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.cluster import authority
from tools.cluster.authority import Authority, Issued
from tools.cluster.layout import API_PORT, API_SERVICE, DNS_SERVICE, ETCD_PORT, POD_RANGE, SERVICE_RANGE, Layout, Node

CONTEXT = "theblock"
STORAGE_CLASS = "standard"
DNS_VIEWER = "theblock:dns"
PROVISIONER = "theblock:provisioner"

AUDIT_MAX_MIB = 200
ETCD_QUOTA_BYTES = 2 << 30
FRONT_PROXY = "front-proxy-client"
"""As whom the API server asks those who extend it."""

IDENTITIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("theblock-admin", (authority.MASTERS,)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "proxy": ("system:kube-proxy", ()),
    "dns": (DNS_VIEWER, ()),
    "provisioner": (PROVISIONER, ()),
}
"""Who each program is to the API server: its name and groups."""


@dataclass(frozen=True)
class Credentials:
    authority: Authority
    server: Issued
    kubelet_client: Issued
    tokens: Issued
    front_proxy_authority: Authority
    """Of its own: who has a certificate of it may say for whom he speaks."""
    front_proxy: Issued
    folder: Path

    def config(self, identity: str) -> Path:
        """The kubeconfig of one of `IDENTITIES` or of a node."""
        return self.folder / f"{identity}.kubeconfig"


def create_credentials(layout: Layout, nodes: Sequence[Node]) -> Credentials:
    folder = layout.certificates
    made = authority.create_authority(folder)
    front = authority.create_authority(folder / "front-proxy")
    first = nodes[0]
    service_names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
    addresses = ["127.0.0.1", layout.outside(1), API_SERVICE, first.address]
    credentials = Credentials(
        authority=made,
        server=made.issue("apiserver", "kube-apiserver", hosts=[*service_names, *addresses]),
        kubelet_client=made.issue("kubelet-client", "kube-apiserver-kubelet-client", groups=[authority.MASTERS]),
        tokens=authority.create_token_key(folder),
        front_proxy_authority=front,
        front_proxy=front.issue(FRONT_PROXY, FRONT_PROXY),
        folder=folder,
    )
    for identity, (common_name, groups) in IDENTITIES.items():
        issued = made.issue(identity, common_name, groups=groups)
        made.kubeconfig(credentials.config(identity), layout.api_url, issued, context=CONTEXT)
    for node in nodes:
        issued = made.issue(
            node.name, f"system:node:{node.name}", groups=["system:nodes"], hosts=[node.name, node.address]
        )
        # Further nodes have their own 127.*, so they take the address of the first one's bridge.
        made.kubeconfig(credentials.config(node.name), f"https://{first.address}:{API_PORT}", issued, context=CONTEXT)
        # The packet filter's program runs on every node, under one identity.
        made.kubeconfig(
            credentials.config(f"proxy-{node.index}"),
            f"https://{first.address}:{API_PORT}",
            Issued(folder / "proxy.crt", folder / "proxy.key"),
            context=CONTEXT,
        )
    return credentials


def etcd(layout: Layout) -> list[str]:
    url, peers = f"http://127.0.0.1:{ETCD_PORT}", "http://127.0.0.1:2380"
    return [
        "etcd",
        "--name=theblock",
        f"--data-dir={layout.state / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=theblock={peers}",
        f"--quota-backend-bytes={ETCD_QUOTA_BYTES}",
        # The cluster is thrown away with its machine: nothing has to survive a power cut.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(layout: Layout, credentials: Credentials, node: Node) -> list[str]:
    policy = layout.state / "audit-policy.yaml"
    policy.write_text(yaml.safe_dump(audit_policy(), sort_keys=False))
    return [
        "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{ETCD_PORT}",
        "--bind-address=0.0.0.0",
        f"--secure-port={API_PORT}",
        f"--advertise-address={node.address}",
        f"--cert-dir={layout.state / 'apiserver'}",
        f"--tls-cert-file={credentials.server.certificate}",
        f"--tls-private-key-file={credentials.server.key}",
        f"--client-ca-file={credentials.authority.path}",
        f"--kubelet-certificate-authority={credentials.authority.path}",
        f"--kubelet-client-certificate={credentials.kubelet_client.certificate}",
        f"--kubelet-client-key={credentials.kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={credentials.front_proxy_authority.path}",
        f"--requestheader-allowed-names={FRONT_PROXY}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={credentials.front_proxy.certificate}",
        f"--proxy-client-key-file={credentials.front_proxy.key}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={credentials.tokens.certificate}",
        f"--service-account-signing-key-file={credentials.tokens.key}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={layout.audit}",
        f"--audit-log-maxsize={AUDIT_MAX_MIB}",
        "--audit-log-maxbackup=1",
        "--profiling=false",
    ]


def audit_policy() -> dict[str, object]:
    """What tests count: every write, and every call of a workload's service account, each once and without its body."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            # Kubernetes' own controllers and heartbeats are the bulk, and not what anybody asks about.
            {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
            {"level": "None", "users": ["system:apiserver", *(name for name, _ in _own_programs())]},
            {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
            {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        ],
    }


def _own_programs() -> list[tuple[str, tuple[str, ...]]]:
    return [identity for name, identity in IDENTITIES.items() if name != "admin"]


def controller_manager(layout: Layout, credentials: Credentials) -> list[str]:
    config = credentials.config("controller-manager")
    return [
        "kube-controller-manager",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={layout.state / 'controller-manager'}",
        f"--cluster-cidr={POD_RANGE}",
        "--allocate-node-cidrs=false",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--root-ca-file={credentials.authority.path}",
        f"--service-account-private-key-file={credentials.tokens.key}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--profiling=false",
    ]


def scheduler(layout: Layout, credentials: Credentials) -> list[str]:
    config = credentials.config("scheduler")
    return [
        "kube-scheduler",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={layout.state / 'scheduler'}",
        "--leader-elect=false",
        "--profiling=false",
    ]


def dns(layout: Layout, credentials: Credentials, node: Node) -> list[str]:
    corefile = layout.state / "Corefile"
    corefile.write_text(
        f""".:53 {{
    bind {node.address}
    errors
    health 127.0.0.1:8090
    ready 127.0.0.1:8181
    cache 5
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {credentials.config("dns")}
        ttl 5
    }}
}}
"""
    )
    return ["coredns", "-conf", str(corefile)]


def provisioner(layout: Layout, credentials: Credentials) -> list[str]:
    config = credentials.config("provisioner")
    return [
        "hostpath-provisioner",
        f"--kubeconfig={config}",
        f"--root={layout.volumes}",
        f"--class={STORAGE_CLASS}",
    ]


def addons(node: Node) -> list[dict[str, object]]:
    """What every cluster has beside its programs: the resolver's Service, and what our two helpers may do."""
    ports = [{"name": f"dns-{name}", "port": 53, "protocol": name.upper()} for name in ("udp", "tcp")]
    labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    service: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {"clusterIP": DNS_SERVICE, "ports": ports},
    }
    # A Service without selector: the resolver is a process of the node and no pod.
    endpoints: dict[str, object] = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "theblock"},
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [node.address], "conditions": {"ready": True}}],
    }
    look = ["get", "list", "watch"]
    return [
        service,
        endpoints,
        *_role(
            DNS_VIEWER,
            [
                _rule("", ["services", "pods", "namespaces", "endpoints"], look),
                _rule("discovery.k8s.io", ["endpointslices"], look),
            ],
        ),
        *_role(
            PROVISIONER,
            [
                _rule("", ["persistentvolumes"], [*look, "create", "update", "delete"]),
                _rule("", ["persistentvolumeclaims"], look),
                _rule("", ["persistentvolumeclaims/status"], ["update"]),
                _rule("storage.k8s.io", ["storageclasses"], [*look, "create"]),
            ],
        ),
    ]


def _rule(group: str, resources: list[str], verbs: list[str]) -> dict[str, object]:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _role(user: str, rules: list[dict[str, object]]) -> list[dict[str, object]]:
    api = "rbac.authorization.k8s.io"
    subject = {"apiGroup": api, "kind": "User", "name": user}
    reference = {"apiGroup": api, "kind": "ClusterRole", "name": user}
    return [
        {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules},
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": user},
            "roleRef": reference,
            "subjects": [subject],
        },
    ]

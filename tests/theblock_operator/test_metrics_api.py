"""The metrics API over TLS: what the front proxy is told, who is not answered, and what is announced."""

import base64
import ssl
import time
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from support.versioned import Versioned
from theblock_operator import ca, front_proxy
from theblock_operator.api import Unavailable
from theblock_operator.front_proxy import Unproven
from theblock_operator.metrics_api import API_SERVICE, MetricsApi, Place

HOST = "127.46.0.4"
SERVICE, NAMESPACE = "theblock-metrics", "ops"
NOW = int(time.time())
FRONT = ca.make_authority("front", now=NOW, seconds=3600)
STRANGERS = ca.make_authority("strangers", now=NOW, seconds=3600)
BASE = "/apis/custom.metrics.k8s.io/v1beta2"
COMPUTE = f"{BASE}/namespaces/theblock/computeproviders.theblock.dev"


def person(authority, name):
    return ca.issue(authority, common_name=name, dns_names=[], uri=f"x://{name}", now=NOW, seconds=3600)


PROXY = person(FRONT, "front-proxy-client")


def provider(name, jobs, **labels):
    meta = {"name": name, "namespace": "theblock", "labels": labels}
    return {"kind": "ComputeProvider", "metadata": meta, "status": {"jobs": jobs} if jobs else {}}


@pytest.fixture
def api():
    trust = {
        "requestheader-client-ca-file": FRONT.certificate,
        "requestheader-allowed-names": '["front-proxy-client"]',
    }
    where = {"name": front_proxy.TRUST_NAME, "namespace": front_proxy.TRUST_NAMESPACE}
    service = {"name": SERVICE, "namespace": NAMESPACE}
    return Versioned(
        {"kind": "ConfigMap", "metadata": where, "data": trust},
        {"kind": "APIService", "metadata": {"name": API_SERVICE}, "spec": {"service": service}},
        provider("compute", {"running": 7, "queued": 5}, tier="a"),
        provider("forge", {"running": 2, "queued": 0}, tier="b"),
        provider("silent", None, tier="a"),
    )


@pytest.fixture
async def served(api):
    made = MetricsApi(api, Place(SERVICE, NAMESPACE, ("theblock",), HOST, 0))
    await made.open()
    await made.look()
    yield made
    await made.close()


def trusted(api):
    return base64.b64decode(api.objects["APIService", "", API_SERVICE]["spec"]["caBundle"]).decode()


def connect(api, who=PROXY):
    """As the aggregator does: trusting what was announced."""
    context = ssl.create_default_context(cadata=trusted(api))
    if who is not None:
        context.load_cert_chain(written(who))
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


async def ask(api, served, path, who=PROXY, method="GET", **params):
    async with connect(api, who) as session:
        return await ask_on(session, served, path, method, **params)


async def ask_on(session, served, path, method="GET", **params):
    async with session.request(
        method,
        f"https://{HOST}:{served.port}{path}",
        params=params,
        server_hostname=f"{SERVICE}.{NAMESPACE}.svc",
        timeout=aiohttp.ClientTimeout(total=10),
    ) as answer:
        return answer.status, await answer.json()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.FOLDER", tmp_path)


FOLDER = Path()
"""Where the client's certificates lie: ssl reads files only."""


def written(pair):
    path = FOLDER / f"{ca.read(pair.certificate).fingerprint}.pem"
    path.write_text(pair.certificate + pair.key)
    return path


async def test_the_front_proxy_finds_the_metrics_and_their_values(api, served):
    assert (await ask(api, served, BASE))[1]["groupVersion"] == "custom.metrics.k8s.io/v1beta2"
    status, told = await ask(api, served, f"{COMPUTE}/compute/backlog", metricLabelSelector="")

    assert status == 200
    assert [(row["describedObject"]["name"], row["value"]) for row in told["items"]] == [("compute", "7")]


async def test_a_list_has_what_its_selector_selects_and_leaves_out_what_is_not_known(api, served):
    _, everyone = await ask(api, served, f"{COMPUTE}/*/queued_slices")
    _, some = await ask(api, served, f"{COMPUTE}/*/queued_slices", labelSelector="tier=a")

    assert [(row["describedObject"]["name"], row["value"]) for row in everyone["items"]] == [
        ("compute", "5"),
        ("forge", "0"),
    ]
    assert [row["describedObject"]["name"] for row in some["items"]] == ["compute"]


@pytest.mark.parametrize(
    ("path", "params", "code", "reason", "said"),
    [
        pytest.param(f"{COMPUTE}/other/backlog", {}, 404, "NotFound", "other", id="object"),
        pytest.param(f"{COMPUTE}/compute/depth", {}, 404, "NotFound", "depth", id="metric"),
        pytest.param(f"{BASE}/namespaces/theblock/pods/p/backlog", {}, 404, "NotFound", "pods", id="resource"),
        pytest.param(COMPUTE.replace("/theblock/", "/n/") + "/c/backlog", {}, 404, "NotFound", "n", id="namespace"),
        pytest.param("/apis", {}, 404, "NotFound", "/apis", id="path"),
        pytest.param(f"{COMPUTE}/silent/backlog", {}, 503, "ServiceUnavailable", "silent", id="unknown"),
        pytest.param(f"{COMPUTE}/*/backlog", {"labelSelector": "a in"}, 400, "BadRequest", "a in", id="selector"),
        pytest.param(
            f"{COMPUTE}/compute/backlog",
            {"metricLabelSelector": "a=b"},
            400,
            "BadRequest",
            "labels",
            id="metric-labels",
        ),
    ],
)
async def test_what_cannot_be_told_is_refused_as_the_api_server_refuses(api, served, path, params, code, reason, said):
    status, told = await ask(api, served, path, **params)

    assert (status, told["kind"], told["code"], told["reason"]) == (code, "Status", code, reason)
    assert said in told["message"]


async def test_nothing_is_written_through_it(api, served):
    status, told = await ask(api, served, f"{COMPUTE}/compute/backlog", method="PUT")

    assert (status, told["reason"]) == (405, "MethodNotAllowed")


async def test_an_api_server_that_does_not_answer_is_told_of(api, served, monkeypatch):
    async def fail(*_):
        raise Unavailable(0, "NoAnswer", "GET")

    monkeypatch.setattr(api, "get", fail)

    assert (await ask(api, served, f"{COMPUTE}/compute/backlog"))[0] == 503


async def test_another_name_of_the_front_proxys_authority_is_not_answered(api, served):
    status, told = await ask(api, served, f"{COMPUTE}/compute/backlog", who=person(FRONT, "somebody"))

    assert (status, told["reason"]) == (401, "Unauthorized")


@pytest.mark.parametrize("who", [None, person(STRANGERS, "front-proxy-client")], ids=["nobody", "a-stranger"])
async def test_who_is_not_of_the_front_proxys_authority_ends_in_the_handshake(api, served, who):
    with pytest.raises(aiohttp.ClientError):
        await ask(api, served, f"{COMPUTE}/compute/backlog", who=who)


async def test_replicas_answer_alike_and_the_bundle_is_written_once(api, served):
    other = MetricsApi(api, Place(SERVICE, NAMESPACE, ("theblock",), HOST, 0))
    await other.open()
    try:
        await other.look()
        await served.look()
        first, second = [await ask(api, each, f"{COMPUTE}/compute/backlog") for each in (served, other)]
    finally:
        await other.close()

    assert first[1]["items"][0]["value"] == second[1]["items"][0]["value"] == "7"
    assert api.writes.count(("patch", "APIService", API_SERVICE)) == 1


async def test_an_api_service_of_another_is_left_alone(api, served):
    api.objects["APIService", "", API_SERVICE]["spec"] = {"service": {"name": "adapter", "namespace": "monitoring"}}

    with pytest.raises(Unproven, match="monitoring/adapter"):
        await served.look()
    assert api.writes.count(("patch", "APIService", API_SERVICE)) == 1


async def test_another_front_proxy_is_trusted_in_place_of_the_first(api, served):
    fresh = ca.make_authority("fresh", now=NOW, seconds=3600)
    where = ("ConfigMap", front_proxy.TRUST_NAMESPACE, front_proxy.TRUST_NAME)
    async with connect(api) as earlier:
        assert (await ask_on(earlier, served, BASE))[0] == 200
        port = served.port
        api.objects[where]["data"]["requestheader-client-ca-file"] = fresh.certificate

        await served.look()

        assert (await ask(api, served, BASE, who=person(fresh, "front-proxy-client")))[0] == 200
        with pytest.raises(aiohttp.ClientError):
            await ask_on(earlier, SimpleNamespace(port=port), BASE)
    with pytest.raises(aiohttp.ClientError):
        await ask(api, served, BASE)


async def test_a_new_authority_is_announced_before_its_certificate_is_shown(api, served):
    before = trusted(api)
    age = front_proxy.AUTHORITY_S - front_proxy.AUTHORITY_RENEW_S + 3600
    later = MetricsApi(api, Place(SERVICE, NAMESPACE, ("theblock",), HOST, 0), now=lambda: NOW + age)
    await later.open()
    try:
        await later.look()
    finally:
        await later.close()

    assert trusted(api).endswith(before)
    assert trusted(api) != before
    assert (await ask(api, served, BASE))[0] == 200, "who still shows the old one is trusted"

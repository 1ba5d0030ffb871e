"""The API client: paths and refusals, what it does when the API server fails, and the real one where there is it."""

import asyncio
import json
from collections.abc import Callable

import pytest
from aiohttp import web
from support.loopback import subnet
from theblock_operator import cluster
from theblock_operator.access import Access, AccessError, find, from_kubeconfig
from theblock_operator.api import Conflict, Forbidden, Invalid, NotFound, Unavailable
from theblock_operator.cluster import Cluster, path
from theblock_operator.metrics import Metrics

HOST = f"{subnet(46)}.2"


class Script:
    """An API server that answers what it was told to, in order, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.bodies: list[object] = []
        self.answers: list[Callable] = []
        self.over = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        self.bodies.append(json.loads(await request.text() or "null"))
        return await self.answers.pop(0)(request)

    def say(self, status: int, body: object, **headers: str) -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.json_response(body, status=status, headers=headers)

        self.answers.append(answer)

    def refuse(self, status: int, reason: str, **headers: str) -> None:
        self.say(status, {"kind": "Status", "code": status, "reason": reason, "message": "no"}, **headers)

    def stream(self, *lines: object, cut: bool = False, hang: bool = False) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for line in lines:
                text = json.dumps(line).encode() + b"\n"
                # In two pieces, as networks cut them.
                await response.write(text[:7])
                await response.write(text[7:])
            if hang:
                await self.over.wait()
            if cut:
                request.transport.abort()
            return response

        self.answers.append(answer)


@pytest.fixture
async def script():
    made = Script()
    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    made.url = f"http://{HOST}:{runner.addresses[0][1]}"
    yield made
    made.over.set()
    await runner.cleanup()


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
async def api(script, metrics, monkeypatch):
    monkeypatch.setattr(cluster, "RETRY_AFTER_MAX_S", 0.01)
    async with Cluster(Access(script.url, token="t0"), meter=metrics, watch_silent_s=0.3) as made:
        yield made


def pod(name, version, **meta):
    return {"metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": version, **meta}}


def page(version, *items, going_on=""):
    return {"metadata": {"resourceVersion": version, "continue": going_on}, "items": list(items)}


def count(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels) or 0


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "subresource", "wanted"),
    [
        ("Pod", "n", "p", "", "/api/v1/namespaces/n/pods/p"),
        ("Node", "", "", "", "/api/v1/nodes"),
        ("StatefulSet", "n", "", "", "/apis/apps/v1/namespaces/n/statefulsets"),
        ("Pod", "", "", "", "/api/v1/pods"),
        ("Bridge", "n", "b", "status", "/apis/theblock.dev/v1alpha1/namespaces/n/bridges/b/status"),
    ],
)
def test_paths_are_those_of_the_api(kind, namespace, name, subresource, wanted):
    assert path(kind, namespace, name, subresource) == wanted


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Invalid),
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (422, Invalid),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
async def test_refusals_are_typed(api, script, status, error):
    for _ in range(2):  # A 401 is tried once more.
        script.refuse(status, "Why")

    with pytest.raises(error) as refused:
        await api.get("Pod", "n", "p")

    assert (refused.value.status, refused.value.reason) == (status, "Why")


async def test_an_answer_that_is_no_json_is_no_answer(api, script):
    async def html(_):
        return web.Response(text="<html>")

    script.answers.append(html)

    with pytest.raises(Unavailable):
        await api.get("Pod", "n", "p")


async def test_nobody_at_home_is_unavailable_and_counted(metrics):
    async with Cluster(Access(f"http://{HOST}:9"), meter=metrics) as api:
        with pytest.raises(Unavailable):
            await api.get("Pod", "n", "p")

    assert count(metrics, "theblock_operator_api_calls_total", verb="get", code="none") == 1


async def test_too_many_requests_are_sent_again_when_the_server_says(api, script, metrics):
    script.refuse(429, "TooManyRequests", **{"Retry-After": "1"})
    script.refuse(429, "TooManyRequests")
    script.say(200, pod("p", "1"))

    found = await api.get("Pod", "n", "p")

    assert found["metadata"]["name"] == "p"
    assert count(metrics, "theblock_operator_api_calls_total", verb="get", code="429") == 2


async def test_too_many_requests_for_ever_is_unavailable(api, script):
    for _ in range(cluster.TRIES):
        script.refuse(429, "TooManyRequests")

    with pytest.raises(Unavailable):
        await api.apply({"kind": "Pod", "apiVersion": "v1", **pod("p", "1")})

    assert script.answers == []


async def test_apply_is_server_side_strict_and_ours(api, script, metrics):
    script.say(200, pod("p", "1"))

    await api.apply({"kind": "Pod", "apiVersion": "v1", **pod("p", "1")})

    (asked,) = script.asked
    assert asked.method == "PATCH"
    assert asked.content_type == "application/apply-patch+yaml"
    assert asked.query["fieldManager"] == "theblock-operator"
    assert asked.query["fieldValidation"] == "Strict"
    assert asked.query["force"] == "true"
    assert asked.headers["Authorization"] == "Bearer t0"
    assert count(metrics, "theblock_operator_api_writes_total", kind="Pod") == 1


async def test_status_has_a_manager_of_its_own(api, script):
    script.say(200, {"metadata": {"name": "b"}})

    await api.apply_status("Bridge", "n", "b", {"replicas": 1})

    assert script.asked[0].path.endswith("/bridges/b/status")
    assert script.asked[0].query["fieldManager"] == "theblock-operator-status"
    assert script.bodies[0]["status"] == {"replicas": 1}


async def test_deleting_names_the_uid_and_what_is_gone_is_gone(api, script):
    script.refuse(404, "NotFound")
    script.refuse(409, "Conflict")

    await api.delete("Pod", "n", "p", uid="u1", grace_seconds=0)
    with pytest.raises(Conflict):
        await api.delete("Pod", "n", "p", uid="u1")

    assert script.bodies[0]["preconditions"] == {"uid": "u1"}
    assert script.bodies[0]["gracePeriodSeconds"] == 0
    assert "gracePeriodSeconds" not in script.bodies[1]


async def test_a_list_comes_in_pages_and_items_say_what_they_are(api, script):
    script.say(200, page("7", pod("a", "1"), going_on="more"))
    script.say(200, page("7", pod("b", "2")))

    found = await api.list("Pod", "n")

    assert [(o["kind"], o["metadata"]["name"]) for o in found] == [("Pod", "a"), ("Pod", "b")]
    assert script.asked[1].query["continue"] == "more"


async def take(watch, number):
    return [await asyncio.wait_for(anext(watch), 5) for _ in range(number)]


def told(changes):
    return [(change.type, change.object.get("metadata", {}).get("name")) for change in changes]


async def test_a_selection_is_made_by_the_server(api, script):
    script.say(200, page("7", pod("a", "1"), going_on="more"))
    script.say(200, page("7", pod("b", "2")))
    script.refuse(400, "BadRequest")

    found = await api.select("Pod", "n", "tier in (a,b)")
    assert [object_["metadata"]["name"] for object_ in found] == ["a", "b"]
    assert {request.query["labelSelector"] for request in script.asked} == {"tier in (a,b)"}
    with pytest.raises(Invalid):
        await api.select("Pod", "n", "tier in")


async def test_a_watch_goes_on_from_where_the_server_ended_it(api, script):
    script.say(200, page("5", pod("a", "1")))
    script.stream(
        {"type": "ADDED", "object": pod("b", "6")},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},
    )
    script.stream({"type": "DELETED", "object": pod("b", "10")}, hang=True)

    watch = api.watch("Pod", "n")
    changes = await take(watch, 4)
    await watch.aclose()

    assert told(changes) == [("ADDED", "a"), ("SYNCED", None), ("ADDED", "b"), ("DELETED", "b")]
    assert [asked.query.get("resourceVersion") for asked in script.asked] == [None, "5", "9"]
    assert script.asked[1].query["allowWatchBookmarks"] == "true"


async def test_a_watch_that_was_cut_goes_on_once_and_then_fails(api, script):
    script.say(200, page("5"))
    script.stream({"type": "ADDED", "object": pod("b", "6")}, cut=True)
    script.stream(cut=True)

    watch = api.watch("Pod", "n")
    changes = await take(watch, 2)
    with pytest.raises(Unavailable):
        await take(watch, 1)

    assert told(changes) == [("SYNCED", None), ("ADDED", "b")]
    assert [asked.query.get("resourceVersion") for asked in script.asked] == [None, "5", "6"]


async def test_a_watch_that_says_nothing_is_dead(api, script):
    script.say(200, page("5"))
    script.stream(hang=True)
    script.stream(hang=True)

    watch = api.watch("Pod", "n")
    await take(watch, 1)

    with pytest.raises(Unavailable, match="WatchCut"):
        await take(watch, 1)


@pytest.mark.parametrize("as_answer", [True, False])
async def test_a_version_that_is_gone_ends_the_watch_for_a_new_list(api, script, as_answer):
    script.say(200, page("5"))
    if as_answer:
        script.refuse(410, "Expired")
    else:
        script.stream({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})

    watch = api.watch("Pod", "n")
    await take(watch, 1)
    with pytest.raises(cluster.ApiError) as refused:
        await take(watch, 1)

    assert (refused.value.status, refused.value.reason) == (410, "Expired")


async def test_a_renewed_token_is_shown_at_once(script, metrics, tmp_path):
    token = tmp_path / "token"
    token.write_text("old\n")
    script.refuse(401, "Unauthorized")
    script.say(200, pod("p", "1"))
    original = script.answers[0]

    async def renew(request):
        token.write_text("new\n")
        return await original(request)

    script.answers[0] = renew
    async with Cluster(Access(script.url, token_file=token), meter=metrics) as api:
        await api.get("Pod", "n", "p")

    assert [asked.headers["Authorization"] for asked in script.asked] == ["Bearer old", "Bearer new"]


async def test_a_token_that_is_away_is_unavailable(script, metrics, tmp_path):
    async with Cluster(Access(script.url, token_file=tmp_path / "none"), meter=metrics) as api:
        with pytest.raises(Unavailable, match="NoToken"):
            await api.get("Pod", "n", "p")


# Access.

KUBECONFIG = """
current-context: c
contexts: [{name: c, context: {cluster: k, user: u, namespace: n}}]
clusters: [{name: k, cluster: {server: "https://127.0.0.1:1/"}}]
users: [{name: u, user: {token: abc}}]
"""


def test_a_kubeconfig_is_read(tmp_path):
    (tmp_path / "config").write_text(KUBECONFIG)

    found = from_kubeconfig(tmp_path / "config")

    assert (found.server, found.namespace, found.read_token()) == ("https://127.0.0.1:1", "n", "abc")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("current-context: c", "current-context: d", "no usable", id="no-context"),
        pytest.param("cluster: k", "cluster: l", "no usable", id="no-cluster"),
        pytest.param("token: abc", "exec: {command: x}", "not supported", id="plug-in"),
        pytest.param('1/"', '1/", insecure-skip-tls-verify: true', "not accepted", id="insecure"),
        pytest.param("token: abc", "client-key-data: '%'", "cannot be read", id="bad-base64"),
        pytest.param("contexts", "{", "no usable", id="no-yaml"),
    ],
)
def test_a_bad_kubeconfig_is_refused(tmp_path, old, new, said):
    (tmp_path / "config").write_text(KUBECONFIG.replace(old, new))

    with pytest.raises(AccessError, match=said):
        from_kubeconfig(tmp_path / "config")


def test_a_named_kubeconfig_goes_before_the_service_account(tmp_path):
    (tmp_path / "config").write_text(KUBECONFIG)
    for name, text in (("token", "t"), ("namespace", "own\n"), ("ca.crt", "")):
        (tmp_path / name).write_text(text)
    inside = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}

    named = find({**inside, "KUBECONFIG": str(tmp_path / "config")}, service_account=tmp_path)
    account = find(inside, service_account=tmp_path)

    assert named.server == "https://127.0.0.1:1"
    assert (account.server, account.namespace, account.read_token()) == ("https://[fd00::1]:443", "own", "t")
    with pytest.raises(AccessError, match="no cluster"):
        find({"HOME": str(tmp_path)}, service_account=tmp_path / "none")


# On a real API server.


@pytest.fixture
async def real(api_server, metrics):
    async with Cluster(from_kubeconfig(api_server.admin), meter=metrics) as made:
        yield made


@pytest.fixture(scope="module")
def namespace(api_server):
    api_server.kubectl("create", "namespace", "calls")
    return "calls"


def config_map(name, **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "calls"},
        "data": data,
    }


@pytest.mark.cluster
async def test_objects_are_made_changed_and_removed(real, namespace):
    made = await real.create(config_map("a", x="1", y="1"))
    with pytest.raises(Conflict):
        await real.create(config_map("a"))
    patched = await real.patch("ConfigMap", namespace, "a", {"data": {"x": "2", "y": None}})
    with pytest.raises(Conflict):
        await real.delete("ConfigMap", namespace, "a", uid="another")
    await real.delete("ConfigMap", namespace, "a", uid=made["metadata"]["uid"])
    await real.delete("ConfigMap", namespace, "a", uid=made["metadata"]["uid"])

    assert patched["data"] == {"x": "2"}
    with pytest.raises(NotFound):
        await real.get("ConfigMap", namespace, "a")


@pytest.mark.cluster
async def test_what_apply_no_longer_names_goes_and_what_others_set_stays(real, namespace, api_server):
    await real.apply(config_map("b", x="1", y="1"))
    api_server.kubectl("patch", "configmap", "b", "-n", namespace, "--type=merge", "-p", '{"data":{"z":"theirs"}}')

    after = await real.apply(config_map("b", x="2"))

    assert after["data"] == {"x": "2", "z": "theirs"}


@pytest.mark.cluster
async def test_a_patch_for_another_uid_and_an_unknown_field_are_refused(real, namespace):
    await real.apply(config_map("c", x="1"))

    with pytest.raises(Conflict):
        await real.patch("ConfigMap", namespace, "c", {"metadata": {"uid": "another"}, "data": {"x": "2"}})
    with pytest.raises(Invalid, match="colour"):
        await real.apply({**config_map("c"), "colour": "red"})


@pytest.mark.cluster
async def test_a_watch_tells_what_is_and_what_changes(real, namespace):
    await real.apply(config_map("d", x="1"))

    watch = real.watch("ConfigMap", namespace)
    seen = []
    async with asyncio.timeout(10):
        async for change in watch:
            seen.append((change.type, change.object.get("metadata", {}).get("name")))
            if change.type == "SYNCED":
                await real.apply(config_map("d", x="2"))
            elif change.type == "MODIFIED":
                await real.delete("ConfigMap", namespace, "d", uid=change.object["metadata"]["uid"])
            elif change.type == "DELETED":
                break
    await watch.aclose()

    assert ("ADDED", "d") in seen
    assert seen[-3:] == [("SYNCED", None), ("MODIFIED", "d"), ("DELETED", "d")]


@pytest.mark.cluster
async def test_kinds_are_established_or_not(real):
    assert await real.is_established("bridges.theblock.dev")
    assert not await real.is_established("nothing.theblock.dev")

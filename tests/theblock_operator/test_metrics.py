"""The operator's figures under the names of the reference, and the page that others scrape."""

import aiohttp
import pytest
from support.loopback import subnet
from theblock_operator import ca
from theblock_operator.metrics import CertificateFigure, CertificateReader, Metrics
from theblock_operator.serve import serve

HOST = f"{subnet(46)}.3"
NOW = 1_790_000_000


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_visits_are_counted_by_kind_and_result():
    metrics = Metrics()
    metrics.visited("Bridge", "done", 0.02)
    metrics.visited("Bridge", "failed", 2.0)

    assert value(metrics, "theblock_operator_reconcile_total", kind="Bridge", result="failed") == 1
    assert value(metrics, "theblock_operator_reconcile_duration_seconds_sum", kind="Bridge") == pytest.approx(2.02)


def test_calls_and_writes_are_counted():
    metrics = Metrics()
    metrics.called("get", "200")
    metrics.called("get", "none")
    metrics.wrote("Pod")

    assert value(metrics, "theblock_operator_api_calls_total", verb="get", code="none") == 1
    assert value(metrics, "theblock_operator_api_writes_total", kind="Pod") == 1


def test_the_queue_and_the_watches_are_asked_at_every_scrape():
    metrics, depth = Metrics(), [1]
    metrics.follow_queue(lambda: depth[0], lambda: 7.5)
    metrics.follow_watches(lambda: 3.0)
    depth[0] = 4

    assert value(metrics, "theblock_operator_queue_depth") == 4
    assert value(metrics, "theblock_operator_queue_oldest_seconds") == 7.5
    assert value(metrics, "theblock_operator_watch_age_seconds") == 3.0


def test_leading_is_told_by_namespace():
    metrics = Metrics()
    metrics.led("n", True)
    metrics.led("m", False)

    assert value(metrics, "theblock_operator_lease_held", namespace="n") == 1
    assert value(metrics, "theblock_operator_lease_held", namespace="m") == 0


def test_a_certificate_that_is_gone_is_not_told_any_more():
    metrics = Metrics()
    figures = [CertificateFigure("net", "a-0", NOW + 60)]
    metrics.follow_certificates(lambda: figures, lambda: NOW)
    assert value(metrics, "theblock_operator_cert_expiry_seconds", network="net", subject="a-0") == 60

    figures.clear()

    assert value(metrics, "theblock_operator_cert_expiry_seconds", network="net", subject="a-0") is None


def secret(name, labels, **data):
    return {"kind": "Secret", "metadata": {"name": name, "labels": labels}, "stringData": data}


def test_certificates_are_read_from_the_secrets_of_networks():
    authority = ca.make_authority("net", now=NOW, seconds=1000)
    member = ca.issue(authority, common_name="a-0", dns_names=["a"], uri="theblock://net/x", now=NOW, seconds=100)
    labels = {"theblock.dev/network": "net"}
    secrets = [
        secret("net-ca", labels, **{"ca.crt": authority.certificate, "ca.key": authority.key}),
        secret("a-0-tls", {**labels, "theblock.dev/member": "a-0"}, **{"tls.crt": member.certificate}),
        secret("a-0-key", {**labels, "theblock.dev/member": "a-0"}, **{"node.key": "00"}),
        secret("theirs", {}, **{"tls.crt": "no certificate"}),
    ]

    found = list(CertificateReader().read(secrets))

    assert found == [CertificateFigure("net", "net-ca", NOW + 1000), CertificateFigure("net", "a-0", NOW + 100)]


def test_a_provider_without_its_device_is_told_with_the_reason():
    def provider(name, *conditions):
        rows = [{"type": "AcceleratorDegraded", "status": status, "reason": reason} for status, reason in conditions]
        return {"metadata": {"namespace": "n", "name": name}, "status": {"conditions": rows}}

    found = [provider("lost", ("True", "DevicePluginMissing")), provider("well", ("False", "OnDevice"))]
    found += [provider("new", ("Unknown", "Starting")), provider("bare")]
    metrics = Metrics()
    metrics.follow_accelerators(lambda: found)
    name = "theblock_operator_accelerator_degraded"

    assert value(metrics, name, namespace="n", resource="lost", reason="DevicePluginMissing") == 1
    assert value(metrics, name, namespace="n", resource="well", reason="OnDevice") == 0
    assert metrics.render().count(name.encode() + b"{") == 2
    found.clear()
    assert name.encode() + b"{" not in metrics.render()


async def test_the_page_says_how_it_goes():
    metrics, trouble = Metrics(), {"sick": None, "unready": "its first lists are not complete"}
    metrics.called("get", "200")
    async with (
        serve(HOST, 0, metrics, sick=lambda: trouble["sick"], unready=lambda: trouble["unready"]) as port,
        aiohttp.ClientSession(f"http://{HOST}:{port}") as client,
    ):
        page = await (await client.get("/metrics")).text()
        alive = await client.get("/healthz")
        waiting = await client.get("/readyz")
        trouble["sick"] = "a watch has been silent for 700 s"
        dead = await client.get("/healthz")

        assert 'theblock_operator_api_calls_total{code="200",verb="get"} 1.0' in page
        assert (alive.status, waiting.status, dead.status) == (200, 503, 503)
        assert await waiting.text() == "its first lists are not complete\n"

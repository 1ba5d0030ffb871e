"""A network's authority and its certificates, judged by an independent verifier."""

import datetime

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from theblock_operator import ca

NOW = 1_790_000_000
DAY = 86_400


@pytest.fixture(scope="module")
def authority():
    return ca.make_authority("net", now=NOW, seconds=10 * DAY)


@pytest.fixture(scope="module")
def member(authority):
    return ca.issue(
        authority,
        common_name="a-0",
        dns_names=["a-0.n.svc"],
        uri="theblock://net/bridge/a-0",
        now=NOW,
        seconds=5 * DAY,
    )


def verify(authority, certificate, name, at=NOW + 60):
    store = Store([x509.load_pem_x509_certificate(authority.certificate.encode())])
    when = datetime.datetime.fromtimestamp(at, datetime.UTC)
    verifier = PolicyBuilder().store(store).time(when).build_server_verifier(x509.DNSName(name))
    verifier.verify(x509.load_pem_x509_certificate(certificate.encode()), [])


def test_a_member_is_who_its_certificate_says(authority, member):
    verify(authority, member.certificate, "a-0.n.svc")

    assert ca.read(member.certificate).uris == ("theblock://net/bridge/a-0",)
    assert ca.read(member.certificate).issuer == ca.read(authority.certificate).issuer


@pytest.mark.parametrize(
    ("name", "at"),
    [
        pytest.param("b-0.n.svc", NOW + 60, id="another-name"),
        pytest.param("a-0.n.svc", NOW + 5 * DAY + 1, id="too-late"),
        pytest.param("a-0.n.svc", NOW - 2 * DAY, id="too-early"),
    ],
)
def test_a_certificate_is_good_for_its_names_and_its_time_only(authority, member, name, at):
    with pytest.raises(VerificationError):
        verify(authority, member.certificate, name, at)


def test_another_authority_of_the_same_name_is_not_trusted(member):
    with pytest.raises(VerificationError):
        verify(ca.make_authority("net", now=NOW, seconds=10 * DAY), member.certificate, "a-0.n.svc")


def test_no_certificate_outlives_its_authority(authority):
    made = ca.issue(authority, common_name="x", dns_names=["x"], uri="theblock://net/x", now=NOW, seconds=99 * DAY)

    assert ca.read(made.certificate).not_after == ca.read(authority.certificate).not_after


def test_a_member_cannot_sign_for_others(authority, member):
    forged = ca.issue(
        member, common_name="evil", dns_names=["evil.n.svc"], uri="theblock://net/operator", now=NOW, seconds=DAY
    )

    with pytest.raises(VerificationError):
        verify(authority, forged.certificate, "evil.n.svc")

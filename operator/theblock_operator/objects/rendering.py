"""All objects of one member, in the order in which they are applied."""

from __future__ import annotations

from theblock_operator.members import Member
from theblock_operator.objects import config, network, workload
from theblock_operator.objects.labels import Owner, workload_owner
from theblock_operator.observed import Object


def render_workload(member: Member, owner: Owner) -> Object:
    """The StatefulSet, owned by the resource. Its uid owns the rest."""
    return workload.stateful_set(member, owner)


def render_attached(member: Member, workload_uid: str) -> list[Object]:
    """What goes with the StatefulSet, but for the TLS Secret, which `IssueCertificate` makes."""
    owner = workload_owner(member.name, workload_uid)
    return [config.config(member, owner), network.member_service(member, owner)]

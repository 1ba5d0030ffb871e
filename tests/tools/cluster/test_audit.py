import datetime
import json

from tools.cluster import audit


def event(
    verb="create", *, stage="ResponseComplete", user="operator", code=201, at="2026-01-02T03:04:05.678901Z", **to
):
    return {
        "stage": stage,
        "verb": verb,
        "user": {"username": user},
        "objectRef": {"resource": "pods", "namespace": "n", "name": "p", **to},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": at,
    }


def lines(*events):
    return [json.dumps(one) + "\n" for one in events]


def test_a_call_is_read_with_its_user_verb_object_and_time():
    (call,) = audit.parse(lines(event("patch", code=200, subresource="status")))

    assert call == audit.Call(
        user="operator",
        verb="patch",
        resource="pods/status",
        namespace="n",
        name="p",
        code=200,
        at=datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC),
    )


def test_reads_are_no_writes():
    calls = list(audit.parse(lines(*(event(verb) for verb in ("get", "list", "watch", "update", "delete")))))

    assert [call.is_write for call in calls] == [False, False, False, True, True]


def test_a_watch_is_counted_once():
    started, ended = event("watch", stage="ResponseStarted"), event("watch")

    assert len(list(audit.parse(lines(started, ended)))) == 1


def test_what_is_no_resource_and_a_line_half_written_are_left_out():
    health = event("get")
    del health["objectRef"]

    assert list(audit.parse([*lines(health), '{"stage": "Resp'])) == []


def test_a_log_that_was_rotated_is_read_before_the_present_one(tmp_path):
    (tmp_path / "audit-2026-01-01T00-00-00.000.log").write_text("".join(lines(event(name="old"))))
    (tmp_path / "audit.log").write_text("".join(lines(event(name="new"))))

    assert [call.name for call in audit.read_calls(tmp_path / "audit.log")] == ["old", "new"]

"""Which message was seen: new once, known to whom, forgotten by age and by number."""

from __future__ import annotations

from theblock_node.services.gossip.relay import Seen, message_id

IDS = [message_id(1, bytes([at])) for at in range(6)]


def test_a_message_is_new_once_and_its_holders_are_known():
    seen = Seen()

    assert seen.note(IDS[0], b"a", 0)
    assert not seen.note(IDS[0], b"b", 1)
    assert not seen.note(IDS[0], None, 2)
    assert seen.holders(IDS[0]) == {b"a", b"b"}
    assert seen.note(IDS[1], None, 3)
    assert seen.holders(IDS[1]) == set()
    assert seen.holders(IDS[2]) == set()


def test_a_message_is_new_again_after_its_time_and_not_before():
    seen = Seen(ttl_ms=100)
    seen.note(IDS[0], b"a", 0)

    assert not seen.note(IDS[0], b"b", 100)
    assert seen.note(IDS[0], b"c", 101)
    assert seen.holders(IDS[0]) == {b"c"}


def test_memory_is_bounded_by_forgetting_the_oldest():
    seen = Seen(capacity=3)
    for identity in IDS:
        seen.note(identity, b"a", 0)

    assert len(seen) <= 4
    assert seen.note(IDS[0], b"a", 0)
    assert not seen.note(IDS[5], b"a", 0)


def test_the_same_bytes_on_another_topic_are_another_message():
    assert message_id(1, b"x") != message_id(2, b"x")
    assert message_id(1, b"x") == message_id(1, b"x")
    assert len(message_id(1, b"")) == 20

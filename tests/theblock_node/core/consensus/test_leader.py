from collections import Counter
from hashlib import sha256

from theblock_node.core.consensus import leader

WEIGHTS = [(b"A" * 32, 10), (b"B" * 32, 20), (b"C" * 32, 30), (b"D" * 32, 40)]
ZERO = bytes(32)


def test_leaders_are_those_of_the_specification():
    drawn = "".join(chr(leader.draw_leader(ZERO, 0, slot, WEIGHTS)[0]) for slot in range(20))
    often = Counter(chr(leader.draw_leader(ZERO, 0, slot, WEIGHTS)[0]) for slot in range(10_000))

    assert drawn == "ABDCDCDCBDCDDCCADCDD"
    assert often == {"A": 991, "B": 1944, "C": 2947, "D": 4118}


def test_the_second_in_line_is_another_by_stake():
    seconds = Counter()
    for slot in range(2000):
        first = leader.draw_leader(ZERO, 0, slot, WEIGHTS)
        second = leader.draw_second(ZERO, 0, slot, WEIGHTS)
        assert second != first
        seconds[chr(second[0])] += 1

    assert sorted(seconds, key=lambda name: seconds[name]) == ["A", "B", "C", "D"]


def test_nobody_is_second_to_the_only_one():
    assert leader.draw_second(ZERO, 0, 7, WEIGHTS[:1]) is None
    assert leader.draw_second(ZERO, 0, 7, [WEIGHTS[0], (b"E" * 32, 0)]) is None


def test_beacon_and_epoch_change_the_draw():
    def draw(beacon, epoch):
        return [leader.draw_leader(beacon, epoch, slot, WEIGHTS) for slot in range(64)]

    assert draw(ZERO, 0) != draw(sha256(b"").digest(), 0)
    assert draw(ZERO, 0) != draw(ZERO, 1)

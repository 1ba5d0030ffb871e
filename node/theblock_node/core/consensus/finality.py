"""When checkpoints are justified and final (Casper FFG, Buterin and Griffith 2017), over plain values.

Validators vote for links from a justified checkpoint to a later one. A link with two thirds of the weight
justifies its target; where the target is the very next checkpoint, its source becomes final.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def threshold(total: int) -> int:
    """The weight that decides: two thirds, rounded up; 0 when there is no weight."""
    return (2 * total + 2) // 3


def weigh(voters: Iterable[bytes], weights: Mapping[bytes, int]) -> int:
    """The weight of distinct voters; whoever is not in the set weighs nothing."""
    return sum(weights.get(voter, 0) for voter in set(voters))


def is_decided(voters: Iterable[bytes], weights: Mapping[bytes, int]) -> bool:
    """Whether the voters carry the threshold of the weight that is left."""
    total = sum(weights.values())
    return total > 0 and weigh(voters, weights) >= threshold(total)


def is_double_vote(first: tuple[int, bytes, int, bytes], second: tuple[int, bytes, int, bytes]) -> bool:
    """Two different votes (source height, hash, target height, hash) for one target height."""
    return first != second and first[2] == second[2]


def is_surround_vote(inner: tuple[int, bytes, int, bytes], outer: tuple[int, bytes, int, bytes]) -> bool:
    """A vote whose span lies strictly within another's."""
    return outer[0] < inner[0] and inner[2] < outer[2]


def count_spare(weights: Iterable[int]) -> int:
    """How many of the heaviest may be away while the rest still decides."""
    ordered = sorted(weights)
    total = sum(ordered)
    left, spare = total, 0
    while ordered and left - ordered[-1] >= threshold(total):
        left -= ordered.pop()
        spare += 1
    return spare


class FinalityGadget:
    """Votes for one target height, with equivocators excluded: the reference's view of one decision."""

    def __init__(self, weights: Mapping[bytes, int]) -> None:
        self._weights = dict(weights)
        self._votes: dict[bytes, bytes] = {}
        self.equivocators: set[bytes] = set()
        self.finalized: bytes | None = None

    def vote(self, validator: bytes, target: bytes) -> bool:
        """Count a vote; True once some target is final."""
        if validator in self._weights and self._votes.setdefault(validator, target) != target:
            self.equivocators.add(validator)
        if self.finalized is None:
            left = {name: weight for name, weight in self._weights.items() if name not in self.equivocators}
            for candidate in sorted(set(self._votes.values())):
                voters = [name for name, voted in self._votes.items() if voted == candidate and name in left]
                if is_decided(voters, left):
                    self.finalized = candidate
        return self.finalized is not None

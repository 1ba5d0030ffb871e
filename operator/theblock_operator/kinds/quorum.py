"""How many validators may be away: weights in, numbers out."""

from __future__ import annotations

from collections.abc import Iterable

from theblock_operator.observed import ValidatorSet
from theblock_operator.status import NOT_YET_OBSERVED, Condition


def compute_threshold(total: int) -> int:
    """Weight that finality needs: more than two thirds."""
    return total * 2 // 3 + 1


def compute_spare(weights: Iterable[int], away: Iterable[int] = ()) -> int:
    """How many of the heaviest present may go while the rest still reaches the threshold; -1 if it is not reached now.

    ``away`` are the weights, out of ``weights``, that are missing already.
    """
    every = sorted(weights, reverse=True)
    threshold = compute_threshold(sum(every))
    present = list(every)
    for weight in away:
        present.remove(weight)
    left = sum(present)
    if left < threshold or not every:
        return -1
    spare = 0
    for weight in present:
        left -= weight
        if left < threshold:
            break
        spare += 1
    return spare


def judge(found: ValidatorSet | None) -> Condition:
    """The condition `QuorumSafe` of a network's whole set."""
    if found is None or not found.seats:
        return Condition("QuorumSafe", "Unknown", NOT_YET_OBSERVED)
    spare = spare_of(found)
    if spare < 0:
        return Condition("QuorumSafe", "False", "QuorumLost", "too few validators vote for finality")
    if len(found.seats) < 4:
        return Condition("QuorumSafe", "False", "BelowFour", "fewer than 4 validators bear no dishonest member")
    if spare == 0:
        return Condition("QuorumSafe", "False", "NoSpare", "one more absence stops finality")
    return Condition("QuorumSafe", "True", "ToleratesFaults")


def spare_of(found: ValidatorSet) -> int:
    """Of the validators that vote, how many of the heaviest may go."""
    return compute_spare([seat.weight for seat in found.seats], [seat.weight for seat in found.seats if not seat.voted])

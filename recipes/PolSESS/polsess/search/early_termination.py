"""Early termination of trials by the learning curves of the others.

The two rules of the published search: Hyperband's brackets (the sweep
service's rule of that name, which ends runs and does not draw them) and median
stopping. A curve is the validation SI-SDR of each epoch, in dB.
"""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

COUNTED = ("epochs", "improvements")


@dataclass(frozen=True)
class Hyperband:
    """Let only the best trials pass certain epochs, the brackets.

    A trial that reaches a bracket, epoch ``min_iter * eta**k``, goes on only
    when its best value so far is in the top ``1 / eta`` of the trials that
    reached it: of n trials, ``n / eta`` rounded up, and those that equal the
    last of them. So the first to arrive passes.

    Arguments
    ---------
    min_iter : int
        Epoch of the first bracket.
    eta : int
        One of ``eta`` trials goes on; at least 2.
    s : int
        Number of brackets.
    count : str
        What is counted up to a bracket: ``epochs``, or ``improvements`` of the
        best value, as in the published runs, which logged nothing else.

    Example
    -------
    >>> rule = Hyperband(min_iter=2, eta=3, s=1)
    >>> rule.reason_to_stop([1.0, 2.0], [[1.0, 3.0], [0.5, 0.7, 0.9]])
    'hyperband: rank 2 of 3 at epoch 2, and only 1 go on'
    >>> rule.reason_to_stop([1.0, 3.0], [[1.0, 3.0]]) is None
    True
    """

    min_iter: int
    eta: int
    s: int
    count: str = "epochs"

    def last_epoch(self) -> int:
        """Return the first epoch at which all brackets can be reached."""
        return self.min_iter * self.eta ** (self.s - 1)

    def _counted(self, curve):
        """List the best values after each of what is counted."""
        best = accumulate(curve, max)
        return sorted(set(best)) if self.count == "improvements" else list(best)

    def reason_to_stop(
        self, curve: list[float], others: Iterable[list[float]]
    ) -> str | None:
        """Return the reason to end a trial after its newest epoch, or None.

        Arguments
        ---------
        curve : list of float
            The trial's, up to that epoch.
        others : iterable of list of float
            Those of all other trials, including ended ones; not looked at
            between the brackets.
        """
        brackets = [self.min_iter * self.eta**k for k in range(self.s)]
        reached = len(self._counted(curve))
        is_new = reached > len(self._counted(curve[:-1]))
        if reached not in brackets or not is_new:
            return None
        rivals = [
            known[reached - 1]
            for known in map(self._counted, others)
            if len(known) >= reached
        ]
        rank = 1 + sum(rival > max(curve) for rival in rivals)
        count = len(rivals) + 1
        places = math.ceil(count / self.eta)
        if rank <= places:
            return None
        return (
            f"hyperband: rank {rank} of {count} at {self.count[:-1]} "
            f"{reached}, and only {places} go on"
        )


@dataclass(frozen=True)
class Median:
    """End trials that stay below the median of the others.

    A trial's best value so far is compared with the median of the other
    trials' running averages, the means of their values up to the same epoch.

    Arguments
    ---------
    from_epoch : int
        The first epoch that counts.
    patience : int
        Epochs in a row below the median after which a trial ends.

    Example
    -------
    >>> rule = Median(from_epoch=1, patience=2)
    >>> rule.reason_to_stop([1.0, 1.5], [[2.0, 2.0], [1.9, 1.7]])
    'median: 2 epochs in a row below the median, at epoch 2 1.50 under 1.90 dB'
    >>> rule.reason_to_stop([1.0, 2.5], [[2.0, 2.0], [1.9, 1.7]]) is None
    True
    """

    from_epoch: int
    patience: int

    def last_epoch(self) -> int:
        """Return the first epoch after which a trial can be ended."""
        return self.from_epoch + self.patience - 1

    def reason_to_stop(
        self, curve: list[float], others: Iterable[list[float]]
    ) -> str | None:
        """Return the reason to end a trial after its newest epoch, or None."""
        if len(curve) < self.last_epoch():
            return None
        others = list(others)
        for epoch in range(len(curve) - self.patience + 1, len(curve) + 1):
            best = max(curve[:epoch])
            averages = [
                statistics.fmean(o[:epoch]) for o in others if len(o) >= epoch
            ]
            if not averages or best >= statistics.median(averages):
                return None
        return (
            f"median: {self.patience} epochs in a row below the median, at "
            f"epoch {epoch} {best:.2f} under {statistics.median(averages):.2f} "
            "dB"
        )

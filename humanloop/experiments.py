"""The certainty of an experiment: for each config, the probability that it is the best.

The share of trials with a positive label is not known but estimated. With p positives in n trials,
and nothing known before (each share is as likely as any other), the share has the distribution
Beta(1 + p, 1 + n - p). Everything here is worked out from these distributions, by integration on a
grid that is dense where one of them is not zero; nothing is drawn at random.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from humanloop.api import Api
from humanloop.exceptions import ApiTypeError, ApiValueError
from humanloop.text_table import text_table

if TYPE_CHECKING:
    from humanloop.model.experiment_response import ExperimentResponse

__all__ = ["ConfigSummary", "ExperimentHelpers", "ExperimentSummary"]

_POINTS = 2000  # of the grid, for each config
_DEVIATIONS = 12  # around the mean; what is further out is less than 1e-5
_TAIL = 0.025  # on each side of the interval


@dataclass(frozen=True)
class ConfigSummary:
    """A config of an experiment.

    trials: datapoints with feedback; mean: the share of positives in them, None without any.
    interval: the share that very many trials would have is in it with a probability of 95 %, and
    below and above it with 2.5 % each. With few trials `mean` may be outside of it: 4 positives of
    4 have the mean 1, but nobody expects a share of exactly 1 of many.
    probability_best: that its share is the highest of all configs. model: of the config, if known.
    """

    id: str
    name: str
    active: bool
    trials: int
    mean: float | None
    interval: tuple[float, float]
    probability_best: float
    model: str | None = None


@dataclass(frozen=True)
class ExperimentSummary:
    """The configs of an experiment, the most likely best one first. `print` shows a table."""

    experiment_id: str
    name: str
    configs: Sequence[ConfigSummary]

    @property
    def best(self) -> ConfigSummary | None:
        """The config that is most likely the best; None if there are no configs."""
        return self.configs[0] if self.configs else None

    def __str__(self) -> str:
        """Return the table."""
        titles = ["config", "trials", "mean", "95 % interval", "best with"]
        lines = [
            [
                self._label(each) if each.active else f"{self._label(each)} (not active)",
                str(each.trials),
                "-" if each.mean is None else f"{each.mean:.3f}",
                "{:.3f} to {:.3f}".format(*each.interval),
                f"{100 * each.probability_best:.1f}%",
            ]
            for each in self.configs
        ]
        return f"{self.name}\n\n{text_table([titles, *lines], range(1, len(titles)))}"

    def _label(self, config: ConfigSummary) -> str:
        """Return a config's name, with the id where others, or the model, are called so, too."""
        names = [config.model, *(each.name for each in self.configs)]
        plain = names.count(config.name) == 1 or config.name == config.id
        return config.name if plain else f"{config.name} ({config.id})"


class ExperimentHelpers(Api):
    """Return the certainty of an experiment."""

    def summarize(self, experiment: ExperimentResponse | Mapping[str, Any]) -> ExperimentSummary:
        """Return how likely each config of an experiment is the best one, and its 95 % interval.

        It computes with the numbers in the experiment, and calls nothing.

        Args:
            experiment: As the API answers it: an element of `list(...).body`, for example.

        Raises:
            ApiTypeError: it is no experiment.
            ApiValueError: its numbers of trials and means can't be.
        """
        return summarize(experiment)


def summarize(experiment: Mapping[str, Any]) -> ExperimentSummary:
    """Return the summary of an ExperimentResponse; see `ExperimentHelpers.summarize`."""
    configs: Sequence[Mapping[str, Any]]
    try:
        configs = experiment.get("configs") or ()
        head = str(experiment["id"]), str(experiment["name"])
        counts = [(int(each["trials_count"]), _mean(each)) for each in configs]
    except (AttributeError, LookupError, TypeError) as error:
        raise ApiTypeError(f"expected an experiment of the API: {error!r}") from error
    for trials, mean in counts:
        if trials < 0 or not 0 <= mean <= 1:
            raise ApiValueError(f"a config can't have {trials} trials with a mean of {mean}")
    shares = [_Share(1 + mean * trials, 1 + trials - mean * trials) for trials, mean in counts]
    intervals, best = _integrate(shares)
    summaries = [
        ConfigSummary(
            str(config["id"]),
            str(config.get("display_name") or config["id"]),
            bool(config.get("active", True)),
            trials,
            mean if trials else None,
            interval,
            probability,
            _model(config),
        )
        for config, (trials, mean), interval, probability in zip(
            configs, counts, intervals, best, strict=True
        )
    ]
    ranked = sorted(summaries, key=lambda each: -each.probability_best)
    return ExperimentSummary(*head, ranked)


def _model(config: Mapping[str, Any]) -> str | None:
    inner: Mapping[str, Any] | None = config.get("config")
    return inner.get("model") if inner else None


def _mean(config: Mapping[str, Any]) -> float:
    found = config.get("mean")
    return 0.0 if found is None else float(found)


@dataclass(frozen=True)
class _Share:
    """The distribution Beta(a, b)."""

    a: float
    b: float

    def density(self, x: float) -> float:
        """Return the density at a point, 0 <= x <= 1."""
        a, b = self.a - 1, self.b - 1
        if (x == 0 and a) or (x == 1 and b):
            return 0.0
        power = (a * math.log(x) if a else 0) + (b * math.log1p(-x) if b else 0)
        return math.exp(power + math.lgamma(a + b + 2) - math.lgamma(a + 1) - math.lgamma(b + 1))

    def points(self) -> list[float]:
        """Return where the density is looked at."""
        total = self.a + self.b
        mean = self.a / total
        deviation = math.sqrt(mean * (1 - mean) / (total + 1))
        low, high = (mean + side * _DEVIATIONS * deviation for side in (-1, 1))
        low, high = max(0.0, low), min(1.0, high)
        return [low + (high - low) * step / _POINTS for step in range(_POINTS + 1)]


def _integrate(shares: Sequence[_Share]) -> tuple[list[tuple[float, float]], list[float]]:
    """Return the interval of each share, and the probability that it is the highest."""
    grid = sorted({0.0, 1.0}.union(*(share.points() for share in shares)))
    widths = [right - left for left, right in pairwise(grid)]
    masses: list[list[float]] = []
    sums: list[list[float]] = []
    for share in shares:
        heights = [share.density(x) for x in grid]
        mass = [
            width * (left + right) / 2
            for width, (left, right) in zip(widths, pairwise(heights), strict=True)
        ]
        total = math.fsum(mass)
        mass = [each / total for each in mass]
        masses.append(mass)
        sums.append([0.0, *accumulate(mass)])
    # In each step of the grid, the others are below its middle.
    middles = [[(left + right) / 2 for left, right in pairwise(below)] for below in sums]
    best = [
        math.fsum(
            mass * math.prod(middles[other][step] for other in range(len(shares)) if other != own)
            for step, mass in enumerate(masses[own])
        )
        for own in range(len(shares))
    ]
    whole = math.fsum(best) or 1.0  # apart from it by the error of the integration
    intervals = [(_quantile(grid, each, _TAIL), _quantile(grid, each, 1 - _TAIL)) for each in sums]
    return intervals, [each / whole for each in best]


def _quantile(grid: Sequence[float], below: Sequence[float], probability: float) -> float:
    at = max(1, bisect_left(below, probability, hi=len(grid) - 1))
    left, right = below[at - 1], below[at]
    part = (probability - left) / (right - left) if right > left else 0.0
    return grid[at - 1] + part * (grid[at] - grid[at - 1])

"""How sure an experiment is: against draws, known values, and an experiment on a real server."""

from __future__ import annotations

import random
from typing import Any

import pytest

from humanloop import ApiTypeError, ApiValueError, Humanloop
from humanloop.experiments import ExperimentSummary, summarize
from humanloop.server import EmbeddedServer, Settings


def experiment(*configs: tuple[int, float | None]) -> dict[str, Any]:
    """An experiment with (trials, mean) of each config."""
    return {
        "id": "exp_1",
        "name": "which",
        "configs": [
            {"id": str(number), "display_name": f"config {number}", "trials_count": trials}
            | ({} if mean is None else {"mean": mean})
            for number, (trials, mean) in enumerate(configs)
        ],
    }


def by_id(summary: ExperimentSummary) -> list[Any]:
    return sorted(summary.configs, key=lambda each: each.id)


@pytest.mark.parametrize(
    "configs",
    [
        [(10, 0.7), (10, 0.4)],
        [(0, None), (5, 1.0), (50, 0.0)],
        [(400, 0.51), (300, 0.49), (3, 0.667), (1000, 0.5)],
    ],
)
def test_agrees_with_draws(configs: list[tuple[int, float | None]]) -> None:
    people = random.Random(5)
    found = by_id(summarize(experiment(*configs)))
    shares = [(1 + n * (mean or 0), 1 + n - n * (mean or 0)) for n, mean in configs]
    count = 20_000
    draws = [[people.betavariate(a, b) for a, b in shares] for _ in range(count)]
    for number, each in enumerate(found):
        best = sum(draw[number] == max(draw) for draw in draws) / count
        assert each.probability_best == pytest.approx(best, abs=0.015)
        low, high = each.interval
        inside = sum(low <= draw[number] <= high for draw in draws) / count
        assert inside == pytest.approx(0.95, abs=0.01)


def test_known_values() -> None:
    # Beta(1, 1) is uniform, and Beta(1, 11) is 1 - (1 - x)**11 below x.
    untried, never = by_id(summarize(experiment((0, None), (10, 0.0))))
    assert untried.interval == pytest.approx((0.025, 0.975), abs=1e-6)
    assert never.interval == pytest.approx((1 - 0.975 ** (1 / 11), 1 - 0.025 ** (1 / 11)), abs=1e-5)
    assert untried.probability_best == pytest.approx(11 / 12, abs=1e-5)
    assert (untried.mean, never.mean) == (None, 0)


def test_equal_configs_are_equally_likely_the_best() -> None:
    found = summarize(experiment(*[(20, 0.5)] * 4)).configs
    assert [each.probability_best for each in found] == pytest.approx([0.25] * 4)


def test_many_trials_decide() -> None:
    found = summarize(experiment((1_000_000, 0.501), (1_000_000, 0.499)))
    assert found.best is not None
    assert found.best.id == "0"
    assert found.best.probability_best > 0.997
    assert found.best.interval == pytest.approx((0.50002, 0.50198), abs=1e-5)


def test_no_configs() -> None:
    assert summarize(experiment()).best is None
    assert str(summarize(experiment())).startswith("which")


def test_prints_a_table_with_the_best_first() -> None:
    head, _, titles, *lines = str(summarize(experiment((10, 0.4), (10, 0.7)))).splitlines()
    assert head == "which"
    assert titles.split("  ")[0] == "config"
    assert lines[0].split() == ["config", "1", "10", "0.700", "0.390", "to", "0.891", "90.1%"]
    assert lines[1].split() == ["config", "0", "10", "0.400", "0.167", "to", "0.692", "9.9%"]


def test_equal_names_and_those_of_the_model_are_shown_with_the_id() -> None:
    names = {"a": "same", "b": "same", "c": "gpt-4", "d": "own"}
    configs = [
        {"id": id, "display_name": name, "trials_count": 0, "config": {"model": "gpt-4"}}
        for id, name in names.items()
    ]
    table = str(summarize({"id": "exp_1", "name": "which", "configs": configs}))
    shown = [line.split("  ")[0] for line in table.splitlines()[3:]]
    assert sorted(shown) == ["gpt-4 (c)", "own", "same (a)", "same (b)"]


@pytest.mark.parametrize("config", [(10, 1.5), (-1, 0.5), (10, float("nan"))])
def test_numbers_that_can_not_be_are_refused(config: tuple[int, float]) -> None:
    with pytest.raises(ApiValueError, match="a config can't have"):
        summarize(experiment(config))


@pytest.mark.parametrize(
    "value", ["exp_1", None, {"id": "exp_1"}, {**experiment(), "configs": [1]}]
)
def test_what_is_no_experiment_is_refused(value: Any) -> None:
    with pytest.raises(ApiTypeError, match="expected an experiment"):
        summarize(value)


@pytest.mark.parametrize("bodies", ["models", "plain"])
def test_an_experiment_of_a_server(bodies: Any) -> None:
    settings = Settings(randomness=random.Random(1))
    with (
        EmbeddedServer(settings=settings) as server,
        Humanloop(api_key=server.api_key, host=server.url, bodies=bodies) as client,
    ):
        configs = [
            client.model_configs.register(project="p", model="m", temperature=each).body
            for each in (0, 1)
        ]
        created = client.experiments.create(
            project_id=configs[0]["project_id"],
            name="hot or not",
            config_ids=[each["config"]["id"] for each in configs],
            positive_labels=[{"type": "rating", "value": "good"}],
        ).body
        for number in range(12):
            trial = client.experiments.sample(experiment_id=created["id"]).body
            feedback = {"type": "rating", "value": "bad" if number % 3 else "good"}
            client.log(project="p", trial_id=trial["trial_id"], output="o", feedback=feedback)
        [listed] = client.experiments.list(project_id=created["project_id"]).body
        summary = client.experiments.summarize(listed)
    assert sum(each.trials for each in summary.configs) == 12
    assert sum((each.mean or 0) * each.trials for each in summary.configs) == pytest.approx(4)
    assert sum(each.probability_best for each in summary.configs) == pytest.approx(1)
    assert {each.id for each in summary.configs} == {each["config"]["id"] for each in configs}

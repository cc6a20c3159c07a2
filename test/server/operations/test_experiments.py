"""Experiments: trials, statistics, status, sampling, membership, deletion."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest

from humanloop.model import ExperimentResponse, GetModelConfigResponse
from humanloop.server import EmbeddedServer, Settings
from humanloop.server.operations.calls import SLICE

from ..api import Api
from ..chatting import Own
from ..databases import transactions

GOOD = {"type": "rating", "value": "good"}
BAD = {"type": "rating", "value": "bad"}
LABELS = [GOOD, {"type": "action", "value": "copied"}]


class Setup:
    """A project with two configs, and an experiment on them."""

    def __init__(self, api: Api, name: str, **keys: Any) -> None:
        self.api, self.name = api, name
        self.configs = [self.register(temperature) for temperature in (0, 0.5)]
        config = {"model": "m", "temperature": 0}
        self.path = f"/projects/{api.log(name, config=config)['project_id']}/experiments"
        copied = {"type": "action", "values": [{"value": "copied"}]}
        path = self.path.removesuffix("/experiments")
        api.ok("PATCH", f"{path}/feedback-types", [copied])
        body = {"name": "e", "positive_labels": LABELS, "config_ids": self.configs, **keys}
        self.created = api.ok("POST", self.path, body)
        self.id = self.created["id"]

    def register(self, temperature: float, **keys: Any) -> str:
        """Register a config."""
        body = {"project": self.name, "model": "m", "temperature": temperature, **keys}
        return str(self.api.ok("POST", "/model-configs", body)["config"]["id"])

    def sample(self) -> Any:
        """Draw a config."""
        return self.api.ok("GET", f"/experiments/{self.id}/model-config")

    def trial_of(self, config_id: str) -> str:
        """A trial of a certain config."""
        while True:
            drawn = self.sample()
            if drawn["config"]["id"] == config_id:
                return str(drawn["trial_id"])

    def log(self, trial_id: str, *feedback: Any) -> Any:
        """Log a trial's datapoint."""
        return self.api.log(self.name, trial_id=trial_id, feedback=list(feedback))

    def now(self) -> Any:
        """The experiment as it is."""
        return next(each for each in self.api.ok("GET", self.path) if each["id"] == self.id)

    def config(self, config_id: str) -> Any:
        """A config's part in it."""
        return next(each for each in self.now()["configs"] if each["id"] == config_id)

    def update(self, **keys: Any) -> Any:
        """Update it."""
        return self.api.ok("PATCH", f"/experiments/{self.id}", keys)


@pytest.fixture
def setup(api: Api, name: str) -> Setup:
    """An experiment on the shared server."""
    return Setup(api, name)


def test_a_new_experiment_is_complete(setup: Setup) -> None:
    body = ExperimentResponse(setup.created)
    assert body["id"].startswith("exp_")
    assert body["status"] == "Initialized"
    assert body["metric"]["id"].startswith("metric_")
    assert body["positive_labels"] == tuple(LABELS)
    assert [each["id"] for each in body["configs"]] == setup.configs
    for each in body["configs"]:
        assert each["active"] == True  # noqa: E712 (a BoolClass is not True, and equals it)
        assert each["trials_count"] == 0
        assert each["display_name"] == "m"
        assert "mean" not in each
        assert "spread" not in each
    assert setup.now() == setup.created


def test_sampling_starts_it(setup: Setup) -> None:
    drawn = GetModelConfigResponse(setup.sample())
    assert drawn["trial_id"].startswith("trial_")
    assert drawn["experiment_id"] == setup.id
    assert drawn["config"]["id"] in setup.configs
    assert setup.now()["status"] == "In progress"


def test_a_trial_brings_its_config_to_the_log(setup: Setup) -> None:
    drawn = setup.sample()
    logged = setup.log(drawn["trial_id"])
    record = setup.api.export(logged["project_id"])["records"][0]
    assert record["config"] == drawn["config"]
    assert record["trial_id"] == drawn["trial_id"]


def test_a_trial_with_its_own_config_is_fine_with_another_refused(setup: Setup) -> None:
    trial_id = setup.trial_of(setup.configs[0])
    body = {"project": setup.name, "trial_id": trial_id}
    same = {**body, "config": {"model": "m", "temperature": 0}}
    setup.api.ok("POST", "/logs", same)
    other = {**body, "config": {"model": "m", "temperature": 0.5}}
    assert setup.api.places("POST", "/logs", other) == [["body", "config"]]


def test_a_trial_of_another_project_is_refused(setup: Setup, name: str) -> None:
    body = {"project": f"{name} other", "trial_id": setup.sample()["trial_id"]}
    assert setup.api.places("POST", "/logs", body) == [["body", "trial_id"]]


def test_statistics_count_datapoints_with_feedback(setup: Setup) -> None:
    first, second = setup.configs
    setup.log(setup.trial_of(first), GOOD)
    setup.log(setup.trial_of(first), GOOD, {"type": "action", "value": "copied"})
    setup.log(setup.trial_of(first), BAD)
    setup.log(setup.trial_of(first), {"type": "comment", "value": "hm"})
    setup.log(setup.trial_of(first))
    setup.log(setup.trial_of(second), BAD)
    one, two = setup.config(first), setup.config(second)
    assert (one["trials_count"], one["mean"]) == (4, 0.5)
    alpha, beta = 1 + 2, 1 + 2
    variance = alpha * beta / ((alpha + beta) ** 2 * (alpha + beta + 1))
    assert one["spread"] == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert (two["trials_count"], two["mean"]) == (1, 0)
    assert two["spread"] == pytest.approx(math.sqrt(2 / (9 * 4)), rel=1e-12)


def test_statistics_follow_feedback_that_comes_and_goes(setup: Setup) -> None:
    first = setup.configs[0]
    data = {"data_id": setup.log(setup.trial_of(first))["id"]}
    assert setup.config(first)["trials_count"] == 0
    setup.api.ok("POST", "/feedback", {**data, **GOOD})
    assert setup.config(first)["mean"] == 1
    setup.api.ok("POST", "/feedback", {**data, **BAD})
    assert setup.config(first)["mean"] == 0
    setup.api.ok("POST", "/feedback", {**data, "type": "rating", "unset": True})
    assert setup.config(first)["trials_count"] == 0
    assert "mean" not in setup.config(first)


def test_other_positive_labels_change_the_mean(setup: Setup) -> None:
    first = setup.configs[0]
    setup.log(setup.trial_of(first), BAD)
    updated = setup.update(name="renamed", positive_labels=[BAD, BAD])
    assert updated["name"] == "renamed"
    assert updated["positive_labels"] == [BAD]
    assert setup.config(first)["mean"] == 1


def test_positive_labels_stay_in_the_order_in_which_they_were_set(setup: Setup) -> None:
    for labels in (LABELS[::-1], [*LABELS, BAD], [BAD], LABELS):
        setup.update(positive_labels=labels)
        assert setup.now()["positive_labels"] == labels


def test_logs_without_a_trial_do_not_count(setup: Setup) -> None:
    setup.api.log(setup.name, config={"model": "m", "temperature": 0}, feedback=GOOD)
    assert setup.config(setup.configs[0])["trials_count"] == 0


def test_only_active_configs_are_sampled(setup: Setup) -> None:
    first, second = setup.configs
    updated = setup.update(config_ids_to_deregister=[first])
    assert [each["active"] for each in updated["configs"]] == [False, True]
    assert {setup.sample()["config"]["id"] for _ in range(20)} == {second}
    updated = setup.update(config_ids_to_deregister=[second], config_ids_to_register=[first])
    assert [each["active"] for each in updated["configs"]] == [True, False]
    assert {setup.sample()["config"]["id"] for _ in range(20)} == {first}


def test_without_an_active_config_sampling_is_404(setup: Setup) -> None:
    setup.update(config_ids_to_deregister=setup.configs)
    answer = setup.api.call("GET", f"/experiments/{setup.id}/model-config")
    assert answer.status == 404


def test_registering_a_model_config_can_add_it(setup: Setup) -> None:
    added = setup.register(1, experiment="e")
    assert added in [each["id"] for each in setup.now()["configs"]]


def test_set_active_makes_it_active(api: Api, name: str) -> None:
    setup = Setup(api, name, set_active=True)
    project = api.ok("GET", setup.path.removesuffix("/experiments"))
    assert project["active_experiment"]["id"] == setup.id
    assert "active_config" not in project


def test_what_is_refused_changes_nothing(setup: Setup) -> None:
    api, path = setup.api, f"/experiments/{setup.id}"
    body = {"name": "f", "positive_labels": LABELS}
    bad_label = {"name": "f", "positive_labels": [{"type": "mood", "value": "x"}]}
    place = ["body", "positive_labels", 0, "type"]
    assert api.places("POST", setup.path, {**body, "name": "e"}) == [["body", "name"]]
    assert api.places("POST", setup.path, bad_label) == [place]
    assert api.places("POST", setup.path, {**body, "config_ids": [setup.configs[0], "x"]}) == [
        ["body", "config_ids", 1]
    ]
    for key in ("config_ids_to_register", "config_ids_to_deregister"):
        assert api.places("PATCH", path, {"name": "f", key: ["x"]}) == [["body", key, 0]]
    assert api.ok("GET", setup.path) == [setup.created]


@pytest.mark.parametrize(
    ("label", "place", "message"),
    [
        ({"type": "rating", "value": "goood"}, "value", "did you mean 'good'?"),
        ({"type": "rating", "value": "x"}, "value", "its labels: 'good', 'bad'"),
        ({"type": "action", "value": "good"}, "value", "its labels: 'copied'"),
        ({"type": "issue", "value": "x"}, "value", "its labels: none"),
        ({"type": "ratings", "value": "good"}, "type", "did you mean 'rating'?"),
        ({"type": "comment", "value": "good"}, "type", "which has no labels"),
    ],
)
def test_a_label_that_nobody_gives_is_refused(
    setup: Setup, label: Any, place: str, message: str
) -> None:
    body = {"name": "f", "positive_labels": [GOOD, label]}
    for method, path in (("POST", setup.path), ("PATCH", f"/experiments/{setup.id}")):
        answer = setup.api.call(method, path, body)
        assert answer.places == [["body", "positive_labels", 1, place]]
        assert message in answer.body["detail"][0]["msg"]
    assert setup.api.ok("GET", setup.path) == [setup.created]


def test_without_a_positive_label_nothing_is_measured(setup: Setup) -> None:
    body: Any = {"name": "f", "positive_labels": []}
    for method, path in (("POST", setup.path), ("PATCH", f"/experiments/{setup.id}")):
        assert setup.api.places(method, path, body) == [["body", "positive_labels"]]


def test_a_label_that_was_given_once_is_known(setup: Setup) -> None:
    setup.api.log(setup.name, feedback={"type": "issue", "value": "slow"})
    slow = {"type": "issue", "value": "slow"}
    assert setup.update(positive_labels=[slow])["positive_labels"] == [slow]


def test_deleting_keeps_the_logs(setup: Setup) -> None:
    logged = setup.log(setup.sample()["trial_id"], GOOD)
    project_path = setup.path.removesuffix("/experiments")
    setup.api.ok("PATCH", project_path, {"active_experiment_id": setup.id})
    answer = setup.api.call("DELETE", f"/experiments/{setup.id}")
    assert (answer.status, answer.text) == (204, "")
    assert setup.api.ok("GET", setup.path) == []
    assert "active_experiment" not in setup.api.ok("GET", project_path)
    record = setup.api.export(logged["project_id"])["records"][0]
    assert record["id"] == logged["id"]
    assert "trial_id" not in record


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", ""), ("PATCH", ""), ("GET", "/model-config")],
)
def test_an_unknown_experiment_is_404(api: Api, method: str, path: str) -> None:
    body: dict[str, Any] | None = {} if method == "PATCH" else None
    assert api.call(method, f"/experiments/exp_x{path}", body).status == 404


def draws(settings: Settings, tmp_path: Any, number: int) -> list[int]:
    """Which config (0 or 1) each draw gave, after config 1 got five good ratings, 0 five bad."""
    with EmbeddedServer(f"sqlite:///{tmp_path / 'draws.db'}", settings=settings) as server:
        setup = Setup(Api(server.url, server.api_key), "p")
        for config_id, label in zip(setup.configs, [BAD, GOOD], strict=True):
            setup.update(config_ids_to_deregister=setup.configs, config_ids_to_register=[config_id])
            for _ in range(5):
                setup.log(setup.sample()["trial_id"], label)
        setup.update(config_ids_to_register=setup.configs)
        return [setup.configs.index(setup.sample()["config"]["id"]) for _ in range(number)]


def test_uniform_sampling_ignores_the_results_and_follows_the_seed(tmp_path: Any) -> None:
    expected = random.Random(7)
    for _ in range(10):
        expected.choice([0])
    found = draws(Settings(randomness=random.Random(7)), tmp_path, 40)
    assert found == [expected.choice([0, 1]) for _ in range(40)]
    assert 10 <= Counter(found)[0] <= 30


def test_thompson_sampling_prefers_what_is_liked(tmp_path: Any) -> None:
    settings = Settings(sampling="thompson", randomness=random.Random(7))
    assert Counter(draws(settings, tmp_path, 40))[1] >= 35


def test_its_trials_are_deleted_in_slices(own: Own) -> None:
    setup = Setup(own.api, "p")
    logged = [setup.log(setup.sample()["trial_id"], GOOD) for _ in range(3)]
    for _ in range(SLICE):
        setup.sample()
    with transactions(own.database, "commit") as found:
        assert setup.api.call("DELETE", f"/experiments/{setup.id}").status == 204
    assert len(found) > 2
    assert setup.api.ok("GET", setup.path) == []
    assert setup.api.call("DELETE", f"/experiments/{setup.id}").status == 404
    records = setup.api.export(logged[0]["project_id"])["records"]
    assert [each.get("trial_id") for each in records] == [None] * 4


def test_trials_that_turn_positive_in_one_array_are_counted(setup: Setup) -> None:
    trial = setup.trial_of(setup.configs[0])
    ids = [each["id"] for each in (setup.log(trial), setup.log(trial, BAD), setup.log(trial, GOOD))]
    body = [{"data_id": each, **GOOD} for each in ids]
    unset = {"data_id": ids[2], "type": "rating", "unset": True}
    setup.api.ok("POST", "/feedback", [*body, unset])
    assert setup.config(setup.configs[0])["trials_count"] == 2
    assert setup.config(setup.configs[0])["mean"] == 1

"""A stranger's program: correct, and both checkers infer every type that a reader would expect.

It is checked, never run: mypy --strict and pyright strict must find nothing.
"""

from __future__ import annotations

import math
import ssl
import statistics
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

from frozendict import frozendict
from typing_extensions import NotRequired, Self, assert_type

from humanloop import (
    ApiConnectionError,
    ApiException,
    ApiProxyError,
    ApiResponse,
    ApiStreamingException,
    AsyncStream,
    Configuration,
    Humanloop,
    NotFoundError,
    OpenApiException,
    RetryPolicy,
    SchemaValidationError,
    Stream,
    wrap,
)
from humanloop.api_response import Headers
from humanloop.apis.tags.logs_api import LogsApi
from humanloop.evaluations import EvaluationReport
from humanloop.evaluations.testcase import Testcase
from humanloop.model import ChatRole, PaginatedDataLogResponse
from humanloop.model.base_metric_response import BaseMetricResponse
from humanloop.model.chat_message import ChatMessage
from humanloop.model.chat_response import ChatResponse
from humanloop.model.completion_response import CompletionResponse
from humanloop.model.config_response import ConfigResponse
from humanloop.model.create_log_response import CreateLogResponse
from humanloop.model.evaluation_response import EvaluationResponse
from humanloop.model.experiment_config_response import ExperimentConfigResponse
from humanloop.model.experiment_response import ExperimentResponse
from humanloop.model.experiment_status import ExperimentStatus
from humanloop.model.experiments_list_response import ExperimentsListResponse
from humanloop.model.feedback import Feedback
from humanloop.model.feedback_type import FeedbackType
from humanloop.model.get_model_config_response import GetModelConfigResponse
from humanloop.model.log_response import LogResponse
from humanloop.model.logs_log_response import LogsLogResponse
from humanloop.model.model_config_request import ModelConfigRequest
from humanloop.model.positive_label import PositiveLabel
from humanloop.model.project_response import ProjectResponse
from humanloop.schemas import (
    BoolClass,
    DateTimeSchema,
    DictSchema,
    ErrorDetail,
    NumberClass,
    NumberSchema,
    Unset,
)
from humanloop.transport import RawResponse, Request
from humanloop.typed_dicts import ChatMessageDict, LogRequestDict, ModelConfigChatRequestDict


def reads_an_experiment(data: dict[str, Any], text: str) -> None:
    experiment = ExperimentResponse(data)
    assert_type(experiment, ExperimentResponse)
    assert_type(ExperimentResponse.from_json(text), ExperimentResponse)
    assert_type(ExperimentResponse(**data), ExperimentResponse)
    assert_type(ExperimentResponse(data, name="a"), ExperimentResponse)
    assert_type(experiment["status"], ExperimentStatus)
    assert_type(experiment.status, ExperimentStatus)
    assert_type(experiment.metric, BaseMetricResponse)
    assert_type(experiment.metric.name, str)
    assert_type(experiment.metric["default"], BoolClass)
    assert_type(experiment["positive_labels"], tuple[PositiveLabel, ...])
    assert_type(experiment.positive_labels[0]["value"], str)
    assert_type(experiment["configs"], tuple[ExperimentConfigResponse, ...])
    assert_type(experiment.configs[0].config, ConfigResponse)
    assert_type(experiment["created_at"], DateTimeSchema)
    assert_type(experiment["created_at"].as_datetime.year, int)
    assert_type(experiment["undeclared"], Any)
    assert_type(experiment.to_json(), str)
    assert_type(ExperimentStatus.IN_PROGRESS, ExperimentStatus)
    assert_type(ExperimentStatus("In progress"), ExperimentStatus)


def reads_a_log(data: dict[str, Any]) -> None:
    log = LogResponse(data)
    assert_type(log["output"], str)
    assert_type(LogResponse({"output": "Hi"})["output"], str)
    assert_type(log.inputs, frozendict[str, Any])
    assert_type(log["messages"], tuple[ChatMessage, ...])
    assert_type(log.messages[0].role, ChatRole)
    assert_type(log["duration"], NumberSchema)
    # Numbers are decimals that work with floats, and date-times are text.
    print(log["duration"] == 0.7, log["duration"] in (0.1, 0.7))
    seconds: Decimal = log["duration"]
    created: str = log["created_at"]
    print(seconds * 2, created.upper())


def narrows_a_union(log: LogResponse) -> None:
    feedback = log["feedback"]
    assert_type(feedback, Feedback | tuple[Feedback, ...])
    if isinstance(feedback, Feedback):
        assert_type(feedback["value"], NumberSchema | str)
        assert_type(feedback.type, FeedbackType | str)
    else:
        assert_type(feedback, tuple[Feedback, ...])


def calls_operations(client: Humanloop) -> None:
    response = client.projects.create(name="support")
    assert_type(response, ApiResponse[ProjectResponse])
    assert_type(response.body["data_count"], NumberSchema)
    assert_type(response.status, int)
    project = response.body["id"]

    page = client.projects.export(id=project, page=0, size=10, timeout=5).body
    assert_type(page, PaginatedDataLogResponse)
    assert_type(page["records"], tuple[LogResponse, ...])
    assert_type(page["records"][0], LogResponse)
    assert_type(client.projects.export(id=project).body["records"][0], LogResponse)

    assert_type(client.experiments.list(project_id=project).body, ExperimentsListResponse)
    for experiment in client.experiments.list(project_id=project).body:
        assert_type(experiment, ExperimentResponse)
    assert_type(client.experiments.list(project_id=project).body[0], ExperimentResponse)
    created = client.experiments.create(
        name="warm or cold",
        positive_labels=[{"type": "rating", "value": "good"}],
        project_id=project,
        config_ids=["config_1", "config_2"],
    )
    assert_type(created.body.status, ExperimentStatus)
    sampled = client.experiments.sample(experiment_id=created.body.id).body
    assert_type(sampled, GetModelConfigResponse)
    assert_type(sampled["trial_id"], str)
    assert_type(client.experiments.delete(experiment_id="exp_1"), ApiResponse[Unset])


def logs(client: Humanloop) -> None:
    config = {"model": "gpt-4", "temperature": 0.2}
    log = client.log(project="support", config=config, output="Hi", duration=Decimal("0.4")).body
    assert_type(log["id"], str)
    batch = client.logs.log([{"project": "support", "config": config, "output": "Hi"}]).body
    assert_type(batch[0], CreateLogResponse)
    client.log(body={"project": "support", "config": config, "output": "Hi"})
    reference_id = client.log_later(project="support", config=config, output=None)
    assert_type(reference_id, str)
    assert_type(client.log_later({"project": "support", "config": config}), str)
    client.feedback_later(type="rating", value="good", reference_id=reference_id)
    flushed = client.flush(timeout=5)
    assert_type(flushed.left, int)
    assert_type(client.spool.stats().last_error, str | None)
    rating = client.feedback(type="rating", value="good", data_id=log["id"])
    assert_type(rating.body["type"], FeedbackType | str)
    client.feedback(type=FeedbackType.RATING, value="good", data_id=log["id"])
    assert_type(client.logs, LogsApi)
    assert_type(client.logs.update(id=log["id"], output="Ho").body, LogResponse)


class WarmConfig(ModelConfigRequest):
    @property
    def is_warm(self) -> bool:
        return self.temperature > 1


def subclasses() -> None:
    config = WarmConfig(model="m", temperature=1.5)
    assert_type(config, WarmConfig)
    assert_type(config.set("temperature", 0), WarmConfig)
    assert_type(WarmConfig({"model": "m"}, temperature=0.1).is_warm, bool)
    assert_type(config["temperature"], NumberSchema)


class Inputs(TypedDict):
    question: str
    tries: NotRequired[int]


class Message(TypedDict, total=False):
    role: str
    content: str


class Config(TypedDict):
    model: str
    temperature: float


class Log(TypedDict):
    project: str
    config: Config
    inputs: Inputs
    messages: list[Message]


def hands_over_typed_dicts(client: Humanloop, inputs: Inputs, message: Message, log: Log) -> None:
    config: Config = {"model": "gpt-4", "temperature": 0.2}
    assert_type(ChatMessage(message), ChatMessage)
    assert_type(LogResponse(log), LogResponse)
    assert_type(DictSchema(inputs), DictSchema)
    assert_type(client.log(body=log).body["id"], str)
    client.log(project="support", config=config, inputs=inputs, messages=[message])
    assert_type(client.logs.log([log, log]).body[0], CreateLogResponse)


def hands_over_plain_forms(client: Humanloop, text: str) -> None:
    message: ChatMessageDict = {"role": "user", "content": text}
    config: ModelConfigChatRequestDict = {"model": "gpt-4", "chat_template": [message]}
    messages: list[ChatMessageDict] = [message, {"role": "user"}]
    assert_type(client.chat(messages, config), ApiResponse[ChatResponse])
    client.chat([message, ChatMessage(message), {"role": "user"}], config)
    request: LogRequestDict = {"config": {"model": "gpt-4"}, "messages": messages}
    assert_type(client.logs.log(request), ApiResponse[LogsLogResponse])
    client.logs.log([request, {"project": "p"}])
    assert_type(ChatMessage(message), ChatMessage)


def hands_over_variables(client: Humanloop, role: str, options: dict[str, Any]) -> None:
    # What a variable holds is no TypedDict to the checkers, and no fault either.
    message = {"role": role, "content": "Hi"}
    config = {"model": "gpt-4", "temperature": 0.2, "stop": ["END"]}
    client.chat([message], config)
    client.chat(messages=[message, {"role": role}], model_config=options)
    client.chat(messages=MESSAGES, model_config={"model": role}, inputs=options)
    client.log(config=config, messages=MESSAGES, inputs={"question": role}, project="p")
    client.log(config=options, feedback={"type": "rating", "value": "good"}, project="p")
    client.log(config=ModelConfigRequest(config), feedback=[{"type": "rating"}], project="p")


def uses_values_as_pythons_own(flags: list[BoolClass], numbers: list[NumberSchema]) -> None:
    flag = flags[0]
    assert_type(flag < True, bool)
    assert_type(flag & False, bool)
    print(sum(flags), int(flag), sorted(flags), sorted(numbers), max(numbers))
    print(hash(flag), {flag, True}, ["no", "yes"][flag])


def computes(client: Humanloop, duration: NumberSchema, price: Decimal, factor: float) -> None:
    assert_type(duration + 0.1, float)
    assert_type(0.5 * duration, float)
    assert_type(duration / factor, float)
    assert_type(factor - duration, float)
    assert_type(duration**0.5, float)
    assert_type(2.0**duration, float)
    assert_type(duration % 0.5 + duration // 0.5, float)
    assert_type(duration * 2, NumberClass)
    assert_type(1 - duration, NumberClass)
    assert_type(duration * price, NumberClass)
    assert_type(duration * duration, NumberClass)
    assert_type(abs(-duration), NumberClass)
    assert_type(round(duration, 1), NumberClass)
    assert_type(round(duration), int)
    assert_type(round(duration * 2 + 1, 1) * 0.5, float)
    assert_type(duration * timedelta(seconds=1), timedelta)
    assert_type(duration < 0.5, bool)
    assert_type(factor <= duration, bool)
    assert_type(duration == 0.7, bool)
    seconds: list[float] = [float(duration), duration.as_float, sum([duration, duration]) * 0.5]
    total = client.sessions.list(project_id="pr_1").body["total"]
    print(list(range(total)), "abc"[total], "abc"[:total], [0] * 3, hex(total), total.is_integer())
    print(math.sqrt(duration), math.floor(duration), statistics.mean([duration, duration * 2]))
    print(f"{duration:.2f}", max(duration, price), sorted([duration, price]), seconds)


def handles_errors(client: Humanloop) -> None:
    try:
        client.projects.get(id="pr_1")
    except SchemaValidationError as error:
        assert_type(error.errors, tuple[ErrorDetail, ...])
        assert_type(error.errors[0].pointer, str)
    except NotFoundError as error:
        assert_type(error.status, int | None)
    except ApiException as error:
        print(error.body)
    except OpenApiException as error:
        print(error)


def configures() -> None:
    with Humanloop(api_key="key", host="http://127.0.0.1:8000/v4", timeout=10.0) as client:
        assert_type(client, Humanloop)
        assert_type(client.configuration, Configuration)
    Humanloop(configuration=Configuration(api_key="key"))
    Humanloop(trust_env=False, ssl_context=ssl.create_default_context())
    Configuration(ssl_ca_cert=Path("ca.pem"), assert_hostname=False, trust_env=True)


def signs(request: Request) -> Request:
    return replace(request, headers=Headers({**request.headers.reveal(), "X-Signature": "..."}))


async def notes(request: Request, response: RawResponse) -> None:
    print(request.method, response.status, [*request.headers.items()])


async def renews(configuration: Configuration) -> None:
    configuration.api_key["APIKeyHeader"] = "another"
    configuration.openai_api_key = None


def hooks(client: Humanloop) -> None:
    policy = RetryPolicy(statuses={401, 429}, faults={"connect", "timeout"})
    client.configuration.refresh_api_key_hook = renews
    client.configuration.retries = policy
    client.configuration.api_key_prefix = {"APIKeyHeader": "Bearer"}
    client.with_options(event_hooks={"request": [signs], "response": [notes]}, retries=policy)
    for project in client.projects.iterate_list(size=50):
        assert_type(project, ProjectResponse)
    try:
        client.projects.list(connect_timeout=None, idempotent=True)
    except ApiProxyError as error:
        print(error.proxy_status + 1, error.hint.upper())


MESSAGES = [{"role": "user", "content": "Hi"}]


def streams(client: Humanloop, wanted: bool) -> None:
    plain = client.chat(MESSAGES, {"model": "gpt-4"}, project="greetings")
    assert_type(plain, ApiResponse[ChatResponse])
    with client.chat(messages=MESSAGES, model_config={"model": "gpt-4"}, stream=True) as stream:
        assert_type(stream, Stream[ChatResponse])
        for event in stream:
            print(event["data"][0]["output"])
    assert_type(client.chat(body={"messages": MESSAGES}), ApiResponse[ChatResponse])
    assert_type(client.complete_deployed(stream=True), Stream[CompletionResponse])
    assert_type(
        client.completions.create_deployed(project="p", stream=wanted),
        ApiResponse[CompletionResponse] | Stream[CompletionResponse],
    )
    assert_type(client.complete_deployed(body={"project": "p"}), ApiResponse[CompletionResponse])


async def calls_asynchronously() -> None:
    async with Humanloop() as client:
        answer = await client.projects.aexport(id="pr_1", timeout=5, retries=0)
        assert_type(answer.body, PaginatedDataLogResponse)
        created = await client.alog(project="p", output="Hi", idempotent=True)
        assert_type(created, ApiResponse[LogsLogResponse])
        assert_type(
            await client.achat(MESSAGES, {"model": "gpt-4"}, stream=False),
            ApiResponse[ChatResponse],
        )
        async with await client.achat(MESSAGES, {"model": "gpt-4"}, stream=True) as stream:
            assert_type(stream, AsyncStream[ChatResponse])
            async for event in stream:
                assert_type(event, ChatResponse)
        pieces = await client.chat_deployed_stream(messages=MESSAGES, project="p")
        async for piece in pieces.content:
            print(piece["output"].upper(), piece["id"])
        await client.complete_stream(body={"model_config": {"model": "gpt-4"}, "project": "p"})
        assert_type(await client.projects.acreate(name="p"), ApiResponse[ProjectResponse])
        assert_type(await client.projects.acreate(body={"name": "p"}), ApiResponse[ProjectResponse])
        async for log in client.projects.aiterate_export(id="pr_1", size=50):
            assert_type(log, LogResponse)


def turns_pages(client: Humanloop) -> None:
    with client.projects.iterate_export(id="pr_1", progress=True) as logs_of_project:
        for log in logs_of_project:
            assert_type(log, LogResponse)
    rows = client.projects.iterate_export(id="pr_1").to_records()
    assert_type(rows, list[dict[str, Any]])
    for page in client.sessions.iterate_list("pr_1").pages():
        print(page.body["total"])


def sets_options(client: Humanloop) -> None:
    patient = client.with_options(
        timeout=5, retries=RetryPolicy(attempts=5), headers={"X-Run": "1"}, bodies="plain"
    )
    assert_type(patient, Humanloop)
    request = patient.build_request(client.projects.get, id="pr_1")
    print(request.as_curl())
    try:
        patient.projects.get("pr_1", retries=1, bodies="models", skip_deserialization=False)
    except ApiStreamingException as error:
        print(error.events, error.tries)
    except ApiConnectionError as error:
        print(error.host, error.elapsed)


class Rated(LogResponse):
    def __new__(cls, output: str, rating: int = 0) -> Self:
        return super().__new__(cls, {"output": output, "metadata": {"rating": rating}})

    @cached_property
    def words(self) -> list[str]:
        return self["id"].split()


def derives() -> None:
    rated = Rated("a", 2)
    assert_type(rated, Rated)
    assert_type(rated.words, list[str])
    assert_type(Rated.from_json("{}"), Rated)
    assert_type(rated.__replace__(output="b"), Rated)
    assert_type(rated.config, ConfigResponse)


def evaluates(client: Humanloop) -> None:
    ended = client.evaluations.wait("ev_1", timeout=5, progress=False)
    assert_type(ended, EvaluationResponse)

    def exact(log: Mapping[str, Any], testcase: Mapping[str, Any]) -> bool:
        return bool(log["output"] == testcase["target"]["output"])

    def answer(inputs: Mapping[str, str]) -> str:
        return inputs["question"]

    report = client.evaluations.run(answer, "evts_1", [exact], workers=2, baseline="ev_1")
    assert_type(report, EvaluationReport)
    assert_type(report.scores["exact"].mean, float | None)
    for row in report.rows:
        assert_type(row.scores["exact"], bool | int | float)
    client.evaluations.run(answer, "evts_1", {"same": exact}, baseline=report)
    assert_type(client.evaluations.summarize("ev_1"), EvaluationReport)
    summary = client.experiments.summarize(client.experiments.list("pr_1").body[0])
    for config in summary.configs:
        assert_type(config.probability_best, float)
        assert_type(config.interval, tuple[float, float])


async def evaluates_in_a_loop(client: Humanloop) -> None:
    async def answer(inputs: Mapping[str, str]) -> str:
        return inputs["question"]

    assert_type(await client.evaluations.await_("ev_1"), EvaluationResponse)
    assert_type(await client.evaluations.arun(answer, "evts_1"), EvaluationReport)
    assert_type(await client.evaluations.asummarize("ev_1", baseline="ev_2"), EvaluationReport)


def test_answer(humanloop_testcase: Testcase) -> None:
    assert_type(humanloop_testcase.log(humanloop_testcase.inputs["question"]), str)
    assert humanloop_testcase.score("exact", True)


def traces(client: Humanloop) -> None:
    @client.traced(project="support", inputs=False)
    def answer(question: str, *, times: int = 1) -> list[str]:
        return [question] * times

    @client.traced(project="support", output=lambda text: text[:10])
    async def answer_later(question: str) -> str:
        return question

    @client.traced(project="support")
    def pieces(question: str) -> Generator[str, int, bool]:
        yield question
        return True

    class Agent:
        @client.traced(project="support")
        def ask(self, question: str) -> str:
            return question

        @classmethod
        @client.traced(project="support")
        def made(cls, question: str) -> Agent:
            return cls()

    assert_type(answer("Hi", times=2), list[str])
    assert_type(pieces("Hi"), Generator[str, int, bool])
    assert_type(Agent.made("Hi").ask("Hi"), str)
    with client.session() as session:
        assert_type(session.reference_id, str)
    assert_type(wrap(client, client=client, project="support"), Humanloop)


async def traces_in_a_loop(client: Humanloop) -> None:
    @client.traced(project="support")
    async def answer(question: str) -> str:
        return question

    @client.traced(project="support")
    async def pieces(question: str) -> AsyncGenerator[str]:
        yield question

    assert_type(await answer("Hi"), str)
    assert_type(pieces("Hi"), AsyncGenerator[str])
    async with client.session("visit-1"):
        await client.alog_later(project="support", config={"model": "gpt-4"})

"""A stranger's mistakes: a line is an error, to both checkers, exactly if it ends in `# wrong`."""

from __future__ import annotations

from decimal import Decimal

import humanloop.model
from humanloop import Configuration, Humanloop
from humanloop.model import (
    ExperimentResponse,
    ExperimentStatus,
    LogResponse,
    ProjectResponse,
)
from humanloop.typed_dicts import ChatMessageDict, LogRequestDict, ModelConfigChatRequestDict

MESSAGES = [{"role": "user", "content": "Hi"}]


def misspelled(client: Humanloop, log: LogResponse, experiment: ExperimentResponse) -> None:
    print(humanloop.model.LogRespons)  # wrong
    print(log.outptu)  # wrong
    print(experiment.metric.nmae)  # wrong
    print(experiment["metric"].nmae)  # wrong
    print(ExperimentStatus.IN_PROGRES)  # wrong
    client.project.list()  # wrong
    client.projects.lst()  # wrong
    client.projects.create(nmae="support")  # wrong
    client.projects.get(id="pr_1", timeuot=5)  # wrong
    client.log(project="support", outptu="Hi")  # wrong
    client.log_later(project="support", outptu="Hi")  # wrong
    client.feedback_later(type="rating", refrence_id="r")  # wrong
    Humanloop(api_kye="key")  # wrong
    Configuration(hots="http://127.0.0.1")  # wrong


def without_body(client: Humanloop) -> None:
    answer = client.projects.export(id="pr_1")
    print(answer["records"])  # wrong
    print(answer.records)  # wrong
    print(len(answer))  # wrong
    print(list(answer))  # wrong
    print(answer.get("records"))  # wrong


def of_another_type(client: Humanloop, log: LogResponse, project: ProjectResponse) -> None:
    client.projects.get(id=7)  # wrong
    client.projects.get(id=None)  # wrong
    client.projects.export(id="pr_1", page="1")  # wrong
    client.log(output=["Hi"])  # wrong
    client.log(inputs="Hi")  # wrong
    client.log(duration="0.4")  # wrong
    client.log_later(output=["Hi"])  # wrong
    client.log_later([{"output": "Hi"}])  # wrong
    client.log_later(output="Hi", timeout=5)  # wrong
    client.traced(proyect="p")  # wrong
    client.traced(project=7)  # wrong
    client.flush("soon")  # wrong
    Humanloop(spool=7)  # wrong
    of_number: int = client.log_later(output="Hi")  # wrong
    print(of_number)
    client.experiments.sample(experiment_id=log)  # wrong
    client.projects.get(id="pr_1", timeout="soon")  # wrong
    client.projects.get(id="pr_1", bodies="json")  # wrong
    client.with_options(bodies=True, skip_deserialization="no")  # wrong
    Humanloop(bodies="dict")  # wrong
    ExperimentStatus("Finished")  # wrong
    number: int = log["output"]  # wrong
    day: Decimal = project["created_at"]  # wrong
    name: str = project["data_count"]  # wrong
    exact: Decimal = log["duration"] + 0.1  # wrong
    rounded: int = log["duration"] * 2  # wrong
    print(log["duration"] + "1", log["duration"] < "1")  # wrong
    print(log.to_primitive(numbers="int"))  # wrong
    LogResponse.from_json("{}", direction="up")  # wrong
    print(number, day, name, exact, rounded)


def plain_forms(client: Humanloop) -> None:
    message: ChatMessageDict = {"role": "nobody", "content": "Hi"}  # wrong
    nameless: ChatMessageDict = {"content": "Hi"}  # wrong
    longer: ChatMessageDict = {"role": "user", "text": "Hi"}  # wrong
    messages: list[ChatMessageDict] = [{"role": "user", "content": 7}]  # wrong
    config: ModelConfigChatRequestDict = {"model": "gpt-4", "temperature": "hot"}  # wrong
    nested: LogRequestDict = {"messages": [{"role": "nobody"}]}  # wrong
    print(message, nameless, longer, nested)
    client.chat(messages, config, project=7)  # wrong
    client.chat("Hi", config)  # wrong
    client.chat(["Hi"], config)  # wrong
    client.log(config=["gpt-4"])  # wrong
    client.log(feedback="good")  # wrong
    client.log(feedback=["good"])  # wrong


def incomplete(client: Humanloop) -> None:
    client.projects.get()  # wrong
    client.projects.create()  # wrong
    client.experiments.sample()  # wrong
    client.experiments.create(name="warm or cold", project_id="pr_1")  # wrong
    client.logs.update(output="Hi")  # wrong
    client.chat(MESSAGES)  # wrong
    client.complete()  # wrong


def changing(log: LogResponse) -> None:
    log["output"] = "Ho"  # wrong
    log.output = "Ho"  # wrong
    del log["output"]  # wrong


def of_none(client: Humanloop) -> None:
    print(client.experiments.delete(experiment_id="exp_1").body["id"])  # wrong


async def asynchronous(client: Humanloop) -> None:
    print((await client.projects.aget(id=1)).body)  # wrong
    print(client.projects.aget(id="pr_1").body)  # wrong
    print(list(client.projects.aiterate_export(id="pr_1")))  # wrong
    print(client.complete_deployed(stream=True).body)  # wrong
    await client.alog(outptu="Hi")  # wrong
    await client.alog(duration="0.4")  # wrong
    print(client.alog(output="Hi").body)  # wrong
    await client.projects.acreate()  # wrong
    await client.projects.acreate(body=["support"])  # wrong
    await client.achat(MESSAGES)  # wrong
    await client.achat(MESSAGES, {"model": "gpt-4"}, stream="yes")  # wrong
    await client.chat_stream(MESSAGES, {"model": "gpt-4"}, projetc="p")  # wrong
    await client.complete_experiment_stream(project="p")  # wrong
    print(client.chat_stream(MESSAGES, {"model": "gpt-4"}).content)  # wrong
    client.with_options(timeout="soon")  # wrong
    client.with_options(headers=[("X-Run", "1")])  # wrong
    client.with_options(verify_ssl=False)  # wrong
    Humanloop(verify_ssl=None)  # wrong
    Humanloop(ssl_context=True)  # wrong
    Humanloop(proxy=3128)  # wrong
    client.configuration.verify_sll = False  # wrong
    client.configuration.trust_env = None  # wrong
    client.projects.iterate_list(size="100")  # wrong
    client.build_request(client.projects.get, name="pr_1")  # wrong

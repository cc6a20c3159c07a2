"""A stranger's mistakes in building models: refused by both checkers and at run time.

A line is refused exactly if it ends in `# wrong`; a test runs each of these lines.
"""

from __future__ import annotations

from humanloop.model import (
    ChatMessage,
    ChatRequest,
    ChatRole,
    ConfigResponse,
    CreateTestcaseRequestInputs,
    ExperimentResponse,
    ExperimentsListResponse,
    ExperimentStatus,
    Feedback,
    FeedbackSubmitRequest,
    LogRequest,
    LogResponse,
    ModelConfigRequest,
    PaginatedDataLogResponse,
    ProjectModelConfigRequest,
)
from humanloop.schemas import (
    BoolSchema,
    DictSchema,
    IntSchema,
    ListSchema,
    NoneSchema,
    NumberSchema,
    StrSchema,
    UUIDSchema,
)

CONFIG = ModelConfigRequest(model="m", temperature=0.7)
LOG = LogRequest(project="p", config=CONFIG, output="Hi")


def builds() -> None:
    ModelConfigRequest(model="m", temperature="hot")  # wrong
    ModelConfigRequest(temperature=0.7)  # wrong
    ModelConfigRequest()  # wrong
    ModelConfigRequest(model="m", temprature=0.7)  # wrong
    ModelConfigRequest(model=None)  # wrong
    ModelConfigRequest(model="m", temperature=None)  # wrong
    ModelConfigRequest(model=7)  # wrong
    ModelConfigRequest("m")  # wrong
    ModelConfigRequest(["m"])  # wrong
    ModelConfigRequest({"model": "m"}, {"model": "n"})  # wrong
    ModelConfigRequest({"model": "m"}, temperature="hot")  # wrong
    ModelConfigRequest({"model": "m"}, temprature=0.7)  # wrong
    ModelConfigRequest(model="m", provider="opnai")  # wrong
    ModelConfigRequest(model="m", endpoint="chats")  # wrong
    ModelConfigRequest(model="m", stop=7)  # wrong
    ModelConfigRequest(model="m", stop=[7])  # wrong
    ModelConfigRequest(model="m", stop={"END"})  # wrong
    ModelConfigRequest(model="m", max_tokens=0.5)  # wrong
    ModelConfigRequest(model="m", other="seed")  # wrong
    ModelConfigRequest(model="m", tools={"name": "n"})  # wrong
    ModelConfigRequest(model="m", chat_template=["Hi"])  # wrong
    ModelConfigRequest(model="m", type="tool")  # wrong
    ProjectModelConfigRequest(model="m", project=7)  # wrong
    ChatMessage(role="nobody", content="Hi")  # wrong
    ChatMessage(content="Hi")  # wrong
    ChatMessage(role=None)  # wrong
    ChatMessage(role="user", content=None)  # wrong
    ChatMessage(role="user", content=["Hi"])  # wrong
    ChatMessage(role="user", name=7)  # wrong
    ChatMessage({"role": "user"}, role="nobody")  # wrong
    ChatMessage(role=ExperimentStatus("In progress"))  # wrong
    ChatRequest(messages=["Hi"], model_config={"model": "m"})  # wrong
    ChatRequest(messages=[ChatMessage(role="user")])  # wrong
    ChatRequest(messages="Hi", model_config={"model": "m"})  # wrong
    ChatRequest(messages=[], model_config="gpt-4")  # wrong
    ChatRequest(messages=[], model_config=LOG["config"], stream="yes")  # wrong
    LogRequest(output=["Hi"])  # wrong
    LogRequest(duration="0.4")  # wrong
    LogRequest(created_at=7)  # wrong
    LogRequest(inputs="Hi")  # wrong
    LogRequest(messages=[{"role"}])  # wrong
    LogResponse(id="data_1")  # wrong
    LogResponse(id=7, config={"type": "model", "id": "c", "model": "m"})  # wrong
    Feedback(type=7)  # wrong
    ExperimentResponse(id="exp_1", name="a")  # wrong
    PaginatedDataLogResponse(records=[], page="1", size=10, total=0)  # wrong


def builds_other_types() -> None:
    ChatRole("nobody")  # wrong
    ChatRole(7)  # wrong
    ChatRole()  # wrong
    ExperimentStatus("Finished")  # wrong
    ExperimentsListResponse({})  # wrong
    ExperimentsListResponse(["exp_1"])  # wrong
    ExperimentsListResponse()  # wrong
    ConfigResponse("model")  # wrong
    ConfigResponse(["model"])  # wrong
    FeedbackSubmitRequest("rating")  # wrong
    FeedbackSubmitRequest(["rating"])  # wrong
    FeedbackSubmitRequest(value="good")  # wrong
    CreateTestcaseRequestInputs(question=7)  # wrong
    CreateTestcaseRequestInputs({"question": 7})  # wrong
    DictSchema("a")  # wrong
    DictSchema(["a"])  # wrong
    ListSchema(7)  # wrong
    StrSchema(7)  # wrong
    NumberSchema("7")  # wrong
    IntSchema(0.5)  # wrong
    BoolSchema("true")  # wrong
    NoneSchema(0)  # wrong
    UUIDSchema(7)  # wrong


def changes() -> None:
    CONFIG["model"] = "n"  # wrong
    CONFIG.model = "n"  # wrong
    del CONFIG["model"]  # wrong
    CONFIG.pop("model")  # wrong
    CONFIG.update(model="n")  # wrong
    CONFIG.clear()  # wrong


def reads() -> None:
    print(CONFIG.modle)  # wrong
    print(CONFIG[7])  # wrong
    print(CONFIG | ["model"])  # wrong
    print(["model"] | CONFIG)  # wrong
    CONFIG.temperature.upper()  # wrong
    print(CONFIG["model"] + 1)  # wrong
    CONFIG.set("model")  # wrong
    print(LOG.config.temprature)  # wrong

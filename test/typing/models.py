"""A stranger's program that builds, reads and changes models; it is checked, and it is run.

Every function takes what it needs from the others, so that a test can call them one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, Literal, TypedDict, TypeVar

from frozendict import frozendict
from typing_extensions import Self, assert_type

from humanloop.model import (
    ChatMessage,
    ChatRole,
    ConfigResponse,
    CreateLogResponse,
    CreateTestcaseRequestInputs,
    ExperimentsListResponse,
    Feedback,
    FeedbackSubmitRequest,
    FeedbackType,
    LogRequest,
    LogResponse,
    LogsLogResponse,
    ModelConfigRequest,
    ModelConfigResponse,
    ModelEndpoints,
    ModelProviders,
    ToolConfigResponse,
)
from humanloop.schemas import (
    BoolClass,
    DictSchema,
    ListSchema,
    NoneClass,
    NumberSchema,
    Schema,
    StrSchema,
    unset,
)

T = TypeVar("T", bound=DictSchema)


def builds_by_keywords() -> ModelConfigRequest:
    config = ModelConfigRequest(
        model="gpt-4",
        provider="openai",
        endpoint=ModelEndpoints.CHAT,
        temperature=0.7,
        top_p=Decimal("0.9"),
        max_tokens=100,
        presence_penalty=1,
        stop=["END"],
        other={"seed": 7, "nested": {"list": [1, None, True]}},
        chat_template=[{"role": "system", "content": "Be kind."}, ChatMessage(role="user")],
        description=unset,
        type="model",
    )
    assert_type(config, ModelConfigRequest)
    assert_type(config.temperature, NumberSchema)
    assert_type(
        ModelConfigRequest(model="m", stop="END", provider=ModelProviders("openai"))["stop"],
        str | tuple[str, ...],
    )
    return config


def builds_by_mappings() -> None:
    untyped: dict[str, Any] = {"model": "m", "other": {}}
    mapping: Mapping[str, Any] = untyped
    texts = {"model": "m", "name": "n"}
    mixed = {"model": "m", "temperature": 0.2}
    frozen: frozendict[str, Any] = frozendict({"model": "m"})
    config = ModelConfigRequest(untyped)
    for one in (mapping, frozen):
        assert_type(ModelConfigRequest(one), ModelConfigRequest)
    assert_type(ModelConfigRequest(texts), ModelConfigRequest)
    assert_type(ModelConfigRequest(mixed), ModelConfigRequest)
    assert_type(ModelConfigRequest(config), ModelConfigRequest)
    assert_type(ModelConfigRequest(**untyped), ModelConfigRequest)
    assert_type(ModelConfigRequest(**config), ModelConfigRequest)
    assert_type(ModelConfigRequest(**mapping), ModelConfigRequest)
    assert_type(ModelConfigRequest(mixed, top_p=1), ModelConfigRequest)
    assert_type(ModelConfigRequest(mixed, model="n", **untyped["other"]), ModelConfigRequest)
    assert_type(ModelConfigRequest({"model": "m", "temperature": 0.2}), ModelConfigRequest)
    assert_type(ModelConfigRequest.from_json(config.to_json()), ModelConfigRequest)


class Message(TypedDict):
    role: str
    content: str


class Config(TypedDict, total=False):
    model: str
    temperature: float


def builds_by_typed_dicts() -> None:
    message: Message = {"role": "user", "content": "Hi"}
    config: Config = {"model": "m", "temperature": 0.2}
    assert_type(ChatMessage(message), ChatMessage)
    assert_type(ModelConfigRequest(config), ModelConfigRequest)
    log = LogRequest(messages=[message], config=config, project="p")
    print(log["messages"], LogRequest(messages=[ChatMessage(message), message]))


def keeps_undeclared_keys_of_open_objects() -> None:
    log = LogRequest(project="p", team="support", tries=[1, 2])
    assert_type(log["team"], Any)
    print(LogRequest({"project": "p"}, team="support")["team"], log["tries"])
    assert_type(CreateTestcaseRequestInputs(question="When?")["question"], str)
    assert_type(
        CreateTestcaseRequestInputs({"question": "When?"}, place="Lisbon"),
        CreateTestcaseRequestInputs,
    )


def takes_what_was_read() -> None:
    config = builds_by_keywords()
    message = ChatMessage(role="user", name=None, content="Hi")
    assert_type(message["name"], str | NoneClass)
    again = ChatMessage(role=message["role"], name=message["name"], content=message.content)
    copy = ModelConfigRequest(
        model=config["model"],
        temperature=config["temperature"],
        max_tokens=config.max_tokens,
        stop=config["stop"],
        other=config.other,
        provider=config.provider,
        endpoint=config["endpoint"],
        chat_template=config["chat_template"],
        type=config["type"],
    )
    print(again == message, copy["chat_template"])
    log = LogResponse(
        id="data_1",
        config={"type": "model", "id": "config_1", "model": "gpt-4", "temperature": 0.2},
        created_at=datetime.now(timezone.utc),
        feedback=[{"type": "rating", "value": "good"}],
        duration=0.4,
        messages=[again],
    )
    print(
        LogResponse(
            config=log["config"], id=log.id, feedback=log["feedback"], created_at=log.created_at
        )
    )
    answer = FeedbackSubmitRequest(type=FeedbackType.RATING, unset=BoolClass.TRUE)
    print(
        FeedbackSubmitRequest({"type": "rating"}),
        FeedbackSubmitRequest([{"type": "rating"}]),
        answer,
    )


def cool_or_warm(model: str, temperature: float | None = None) -> ModelConfigRequest:
    return ModelConfigRequest(
        model=model, temperature=unset if temperature is None else temperature
    )


def read(cls: type[T], data: Mapping[str, Any]) -> T:
    return cls(data)


@dataclass
class Run:
    config: ModelConfigRequest
    messages: list[ChatMessage] = field(default_factory=lambda: [])


def builds_by_functions() -> None:
    assert_type(cool_or_warm("m"), ModelConfigRequest)
    assert_type(cool_or_warm("m", 0.9)["temperature"], NumberSchema)
    assert_type(read(ChatMessage, {"role": "user"}), ChatMessage)
    build = partial(ChatMessage, role="user")
    assert_type(build(content="Hi"), ChatMessage)
    made = list(map(ChatMessage, [{"role": "user"}, {"role": "tool"}]))
    assert_type(made, list[ChatMessage])
    run = Run(cool_or_warm("m"), made)
    assert_type(replace(run, config=run.config.set("temperature", 1)), Run)
    request: dict[str, Any] = {"messages": [{**message} for message in made]}
    print(LogRequest(request), LogRequest(messages=made), LogRequest(messages=tuple(made)))
    print({message.role for message in made} == {"user", ChatRole.TOOL})


def builds_other_types() -> None:
    assert_type(ChatRole("user"), ChatRole)
    assert_type(ChatRole(ChatRole.USER), ChatRole)
    assert_type(ChatRole.USER, ChatRole)
    assert_type(ExperimentsListResponse([]), ExperimentsListResponse)
    assert_type(DictSchema({"a": 1}, b=2), DictSchema)
    config = ConfigResponse({"type": "model", "id": "c", "model": "m"})
    assert_type(config, ConfigResponse)
    assert_type(ConfigResponse(type="model", id="c", model="m"), ConfigResponse)
    assert_type(
        ConfigResponse(ModelConfigResponse(type="model", id="c", model="m")), ConfigResponse
    )
    made: list[type[Schema]] = [ModelConfigRequest, ChatRole]
    print(made[0]({"model": "m"}), made[1]("user"))
    classes: list[type[DictSchema]] = [ModelConfigRequest, LogRequest]
    print([cls({"model": "m"}) for cls in classes])


def merges() -> None:
    config = builds_by_keywords()
    data: dict[str, Any] = {"model": "m"}
    warmer: dict[str, Any] = {**config, "temperature": 0.9}
    assert_type({**config}, dict[str, Any])
    assert_type(dict(config), dict[str, Any])
    assert_type(dict(config, temperature=0.9), dict[str, Any])
    assert_type(config | {"temperature": 0.9}, frozendict[str, Any])
    assert_type(config | config, frozendict[str, Any])
    assert_type({"temperature": 0.9} | config, frozendict[str, Any])
    assert_type(data | config, frozendict[str, Any])
    data.update(config)
    data |= config
    merged: frozendict[str, Any] = config
    merged |= {"temperature": 0.9}
    print(ModelConfigRequest({**config, "temperature": 0.9}) == warmer)
    print(ModelConfigRequest(**warmer), merged)
    print(isinstance(merged, ModelConfigRequest))


def reads_as_a_mapping() -> None:
    config = builds_by_keywords()
    assert_type(config.get("temperature"), Any | None)
    assert_type(config.get("temperature", 1), Any)
    assert_type(list(config), list[str])
    assert_type(len(config), int)
    assert_type("model" in config, bool)
    for key, value in config.items():
        print(key.upper(), value)
    assert_type(list(config.keys()), list[str])
    assert_type(list(config.values()), list[Any])
    assert_type(config.set("temperature", 1), ModelConfigRequest)
    assert_type(config.delete("temperature"), ModelConfigRequest)
    assert_type(config.setdefault("top_p", 1), ModelConfigRequest)
    assert_type(config.copy(), ModelConfigRequest)
    for key in config:
        assert_type(config[key], Any)
    match config:
        case {"model": str(name), "temperature": temperature}:
            print(name.upper(), temperature)
        case _:
            raise AssertionError
    match config["stop"]:
        case str(text):
            print(text.upper())
        case (first, *_):
            print(first.upper())
        case _:
            pass


def a_log() -> LogResponse:
    return LogResponse(
        {
            "id": "data_1",
            "config": {"type": "model", "id": "config_1", "model": "gpt-4", "temperature": 0.2},
            "feedback": [{"type": "rating", "value": "good"}],
            "provider_response": {"id": 1},
        }
    )


def narrows() -> None:
    log = a_log()
    assert_type(log["config"], ConfigResponse)
    assert_type(log["config"]["temperature"], Any)
    config = log["config"]
    if isinstance(config, ModelConfigResponse):
        assert_type(config["temperature"], NumberSchema)
        assert_type(config.temperature, NumberSchema)
        assert_type(config["model"], str)
        print(config["temperature"] + 1, config.type)
    elif isinstance(config, ToolConfigResponse):
        assert_type(config["name"], str)
    if isinstance(log.config, ModelConfigResponse):
        assert_type(log.config.temperature, NumberSchema)
    match log["config"]:
        case ModelConfigResponse(model=str(name)) as found:
            assert_type(found["temperature"], NumberSchema)
            print(name.upper(), temperature(found))
        case _:
            raise AssertionError
    feedback = log["feedback"]
    if isinstance(feedback, tuple):
        assert_type(feedback[0]["value"], NumberSchema | str)
    else:
        assert_type(feedback, Feedback)
    response = log["provider_response"]
    if isinstance(response, str):
        assert_type(response, str)
    else:
        assert_type(response, frozendict[str, Any])
        print(response["id"])


def temperature(config: ConfigResponse) -> NumberSchema | None:
    return config["temperature"] if isinstance(config, ModelConfigResponse) else None


def kind(config: ModelConfigResponse | ToolConfigResponse) -> str:
    if config.type == "model":
        assert_type(config, ModelConfigResponse)
        return config["model"]
    assert_type(config, ToolConfigResponse)
    return config["name"]


def discriminates() -> None:
    assert kind(ModelConfigResponse(type="model", id="c", model="m")) == "m"
    assert kind(ToolConfigResponse(type="tool", id="c", name="n")) == "n"


def narrows_a_batch() -> None:
    body = LogsLogResponse([{"id": "a", "project_id": "p"}, {"id": "b", "project_id": "p"}])
    assert_type(body[0], CreateLogResponse)
    one = LogsLogResponse({"id": "a", "project_id": "p"})
    assert_type(one["id"], str)
    if isinstance(one, CreateLogResponse):
        assert_type(one["project_id"], str)
    if isinstance(body, tuple):
        print(len(body))


class Checked(ChatMessage):
    def __init__(self, *arguments: Any, **keys: Any) -> None:
        super().__init__(*arguments, **keys)
        assert self.content


class FromMapping(ChatMessage):
    def __init__(self, mapping: Mapping[str, Any]) -> None:
        super().__init__(mapping)


class Said(ChatMessage):
    def __new__(cls, text: str, role: Literal["user", "assistant"] = "user") -> Self:
        return super().__new__(cls, role=role, content=text)

    @cached_property
    def words(self) -> list[str]:
        return self.content.split()

    def louder(self) -> Self:
        return self.set("content", self.content.upper())


class Answer(DictSchema):
    __openapi__ = {  # noqa: RUF012
        "type": "object",
        "required": ["text"],
        "properties": {"text": {"type": "string"}, "sure": {"type": "number"}},
    }


class Lines(ListSchema[str]):
    __openapi__ = {"type": "array", "items": {"type": "string"}}  # noqa: RUF012


class Short(StrSchema):
    __openapi__ = {"type": "string", "maxLength": 5}  # noqa: RUF012


class Share(NumberSchema):
    __openapi__ = {"type": "number", "maximum": 1}  # noqa: RUF012


def subclasses() -> None:
    assert_type(Checked(role="user", content="Hi"), Checked)
    assert_type(FromMapping({"role": "user"}), FromMapping)
    assert_type(Said("good morning").louder().words, list[str])
    assert_type(Said("Hi", "assistant").role, ChatRole)
    assert_type(
        LogRequest(messages=[Said("Hi"), Checked({"role": "user", "content": "a"})]), LogRequest
    )
    assert_type(Answer(text="Yes"), Answer)
    assert_type(Answer({"text": "Yes", "sure": 0.9})["sure"], Any)
    assert_type(Lines(["a"])[0], str)
    print(Short("Yes").upper(), Share(0.5) + 0.5)

"""What error reporters find in the frames of errors: no key, in no variable of ours."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import json
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import humanloop
from humanloop import Configuration, Humanloop, RetryPolicy
from humanloop.apis.operations import CHATS_CREATE
from humanloop.http import Headers
from humanloop.secrets import is_secret_header, is_secret_name
from humanloop.transport import AiohttpTransport, Request, Urllib3Transport

SECRET = "zq9Secret"
BASIC = base64.b64encode(f"user:{SECRET}-proxy".encode()).decode()
OPTIONS: dict[str, Any] = {
    "api_key": f"{SECRET}-hl",
    "openai_api_key": f"{SECRET}-openai",
    "retries": RetryPolicy(attempts=2, backoff=0.001),
}
OURS = Path(humanloop.__file__).parent
USERS = (Path(__file__).parent,)
DEPTH = 4


def chat(**more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": "hi"}],
        "model_config": {"model": "gpt-4"},
        "provider_api_keys": {"mock": f"{SECRET}-own"},
        "extra_headers": {
            "Authorization": f"Bearer {SECRET}-bearer",
            "Cookie": f"id={SECRET}-cookie",
            "Helicone-Auth": f"Bearer {SECRET}-helicone",
        },
        **more,
    }


def chain(error: BaseException) -> Iterator[BaseException]:
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        inner = waiting.pop()
        if inner is not None and id(inner) not in seen:
            seen.add(id(inner))
            yield inner
            waiting += [inner.__cause__, inner.__context__]


def rendered(value: Any, depth: int = DEPTH, seen: frozenset[int] = frozenset()) -> Iterator[str]:
    """All that a reporter may print of a value: its repr, items, attributes and closures."""
    yield repr(value)
    if depth == 0 or id(value) in seen:
        return
    if isinstance(value, (type, types.ModuleType, types.FrameType, types.TracebackType)):
        return
    seen |= {id(value)}
    inner: list[Any] = []
    if isinstance(value, Mapping):
        inner += [part for item in value.items() for part in item]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inner += value
    if inspect.isfunction(value):
        for cell in value.__closure__ or ():
            try:
                inner.append(cell.cell_contents)
            except ValueError:
                continue
    if isinstance(value, types.MethodType):
        inner.append(value.__self__)
    elif type(value).__module__.startswith("humanloop"):
        inner += getattr(value, "__dict__", {}).values()
        slots = getattr(type(value), "__slots__", ())
        inner += [getattr(value, name, None) for name in slots]
    for part in inner:
        yield from rendered(part, depth - 1, seen)


def frames(error: BaseException) -> Iterator[types.FrameType]:
    """The frames of an error and of its chain, but for those of the tests."""
    for inner in chain(error):
        entry = inner.__traceback__
        while entry is not None:
            file = Path(entry.tb_frame.f_code.co_filename)
            if not any(file.is_relative_to(place) for place in USERS):
                yield entry.tb_frame
            entry = entry.tb_next


def assert_nothing_shows(error: BaseException) -> None:
    looked_at = 0
    for frame in frames(error):
        looked_at += 1
        for name, value in frame.f_locals.items():
            for text in rendered(value):
                place = f"{frame.f_code.co_filename}:{frame.f_code.co_name}: {name}"
                assert SECRET not in text, f"{place}: {text[:300]}"
                assert BASIC not in text, f"{place}: {text[:300]}"
    assert looked_at > 0


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def call(caller: Any, host: str, **more: Any) -> None:
    """Make a client and a call; what holds the keys is forgotten by this frame."""
    options = {name: more.pop(name) for name in SETTINGS & more.keys()}
    client = caller.client(host, **{**OPTIONS, **options})
    response = caller(client.chat, **chat(**more))
    if more.get("stream"):
        caller.all(response)


SETTINGS = {
    *("proxy", "proxy_headers", "timeout", "read_timeout", "connect_timeout", "event_hooks"),
    "ssl_ca_cert",
}


def refuse(request: Any) -> None:
    raise LookupError("the hook")


FAULTS: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "refused": (lambda server: server.close(), {}),
    "dropped": (lambda server: server.send_raw(b""), {}),
    "cut body": (lambda server: server.send_raw(HEAD + b"Content-Length: 9\r\n\r\n{}"), {}),
    "no HTTP": (lambda server: server.send_raw(b"SSH-2.0\r\n"), {}),
    "bad gzip": (lambda s: s.send_raw(HEAD + b"Content-Encoding: gzip\r\n\r\nno"), {}),
    "no answer": (lambda server: setattr(server, "reply", server.hanging()), {"timeout": 0.2}),
    "a part of it": (
        lambda server: setattr(server, "reply", server.hanging(HEAD)),
        {"read_timeout": 0.2},
    ),
    "too late to connect": (lambda server: None, {"timeout": 1e-9}),
    "401": (lambda server: server.answer({"detail": "no"}, 401), {}),
    "503": (lambda server: server.answer({}, 503), {"idempotent": True}),
    "no JSON": (lambda server: server.answer(b"<html>"), {}),
    "another schema": (lambda server: server.answer({"data": 5}), {}),
    "a hook": (lambda server: None, {"event_hooks": {"request": [refuse]}}),
    "a broken stream": (lambda s: s.send_raw(STREAM + b'data: {"da'), {"stream": True}),
    "no event": (lambda s: s.send_raw(STREAM + b"data: 5\n\n"), {"stream": True}),
    "a bad body": (lambda server: None, {"messages": 5}),
    "a bad key": (lambda server: None, {"provider_api_keys": {"mock": [f"{SECRET}-own"]}}),
    "a misspelled argument": (lambda server: None, {"mesages": 5}),
    "a bad header": (lambda s: None, {"extra_headers": {"Authorization": f"{SECRET}\n"}}),
    "a bad option": (lambda server: None, {"retries": "often"}),
}


@pytest.mark.parametrize(("prepare", "more"), FAULTS.values(), ids=FAULTS)
def test_faults(
    prepare: Callable[[Any], Any], more: dict[str, Any], caller: Any, server: Any
) -> None:
    prepare(server)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever it is
        call(caller, server.host, **more)
    assert_nothing_shows(caught.value)


def send_alone(caller: Any, host: str, **fields: Any) -> None:
    """Send a request by a transport that no client has, and read its stream, if it is one."""
    headers = Headers({"X-API-KEY": f"{SECRET}-hl", "Cookie": f"id={SECRET}-cookie"})
    settings = {name: fields.pop(name) for name in SETTINGS & fields.keys() if "proxy" in name}
    configuration = Configuration(host, api_key=f"{SECRET}-hl", **settings)
    told: dict[str, Any] = {"method": "POST", "path": "/chat", "query": "", "headers": headers}
    request = Request(host=host, body=f'"{SECRET}"'.encode(), **{"timeout": 10, **told, **fields})

    async def send() -> None:
        transport = AiohttpTransport(configuration)
        try:
            response: Any = await transport.send(request)
            while request.stream and await response.read(5):
                pass
        finally:
            await transport.aclose()

    if caller.kind == "async":
        caller.run(send())
        return
    transport = Urllib3Transport(configuration)
    with contextlib.closing(transport):
        response: Any = transport.send(request)
        while request.stream and response.read(5):
            pass


ALONE: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    **{
        name: fault
        for name, fault in FAULTS.items()
        if name
        in (
            *("refused", "dropped", "cut body", "no HTTP", "bad gzip", "no answer", "a part of it"),
            "too late to connect",
        )
    },
    "a bad header": (lambda s: None, {"headers": Headers({"Authorization": f"{SECRET}\n"})}),
    "a bad path": (lambda s: None, {"path": "/chat x\r\n"}),
    "a broken stream": (
        lambda s: s.send_raw(STREAM.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\nda")),
        {"stream": True},
    ),
    "a proxy": (
        lambda s: s.send_raw(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"),
        {"proxy_headers": {"X-Gate-Token": f"{SECRET}-gate"}},
    ),
}


@pytest.mark.parametrize(("prepare", "more"), ALONE.values(), ids=ALONE)
def test_faults_of_a_transport_by_itself(
    prepare: Callable[[Any], Any], more: dict[str, Any], caller: Any, server: Any
) -> None:
    prepare(server)
    host = server.host
    if "proxy_headers" in more:
        proxy = f"http://user:{SECRET}-proxy@127.0.0.1:{server.port}"
        host, more = "https://api.example/v4", {**more, "proxy": proxy}

    def handle() -> None:
        local = "of the user"
        try:
            raise KeyError(local)
        except KeyError:
            send_alone(caller, host, **more)

    with pytest.raises(humanloop.OpenApiException) as caught:
        handle()
    assert_nothing_shows(caught.value)
    kept = [e.tb_frame.f_locals.get("local") for c in chain(caught.value) for e in entries(c)]
    assert "of the user" in kept


@pytest.mark.parametrize("tls_server", ["expired", "elsewhere"], indirect=True)
def test_tls(tls_server: Any, caller: Any, trusting: dict[str, Any]) -> None:
    with pytest.raises(humanloop.ApiTlsError) as caught:
        call(caller, tls_server.host, ssl_ca_cert=trusting["ssl_ca_cert"])
    assert_nothing_shows(caught.value)


@pytest.mark.parametrize("host", ["https://api.example/v4", "http://api.example/v4"])
def test_proxies(host: str, caller: Any, server: Any) -> None:
    server.send_raw(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
    proxy = f"http://user:{SECRET}-proxy@127.0.0.1:{server.port}"
    with pytest.raises(humanloop.OpenApiException) as caught:
        call(caller, host, proxy=proxy, proxy_headers={"X-Gate-Token": f"{SECRET}-gate"})
    assert_nothing_shows(caught.value)


@pytest.mark.parametrize("host", ["https://api.example/v4", "http://api.example/v4"])
def test_a_silent_proxy(host: str, caller: Any, server: Any) -> None:
    """The errors of a library may hold its pool of connections, which knows the credentials."""
    server.reply = server.hanging()
    proxy = f"http://user:{SECRET}-proxy@127.0.0.1:{server.port}"
    gate = {"X-Gate-Token": f"{SECRET}-gate"}
    with pytest.raises(humanloop.ApiTimeoutError) as caught:
        call(caller, host, proxy=proxy, proxy_headers=gate, timeout=0.2)
    assert_nothing_shows(caught.value)
    texts = [text for error in chain(caught.value) for text in within(error)]
    assert not [text for text in texts if SECRET in text or BASIC in text]


def within(value: Any, depth: int = DEPTH) -> Iterator[str]:
    """The reprs of an object and of its attributes, and theirs, whoever's class it is."""
    yield repr(value)
    if depth > 0:
        for part in getattr(value, "__dict__", {}).values():
            yield from within(part, depth - 1)


def test_a_cancelled_call(server: Any) -> None:
    server.reply = server.hanging()

    async def main() -> None:
        async with Humanloop(host=server.host, **OPTIONS) as client:
            await asyncio.wait_for(client.achat(**chat()), 0.2)

    with pytest.raises(asyncio.TimeoutError) as caught:
        asyncio.run(main())
    assert_nothing_shows(caught.value)


def first_page() -> bytes:
    record = {
        **{"id": "pr_1", "name": "p", "users": [], "data_count": 1, "feedback_types": []},
        **{"team_id": "t", "created_at": "2024-02-29T12:30:00Z"},
        "updated_at": "2024-02-29T12:30:00Z",
    }
    body = json.dumps({"records": [record], "page": 0, "size": 1, "total": 3}).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("replies", [(b"",), (first_page(), 404), (first_page(), b"")])
@pytest.mark.parametrize("whole", [False, True])
def test_iterating(whole: bool, replies: tuple[Any, ...], caller: Any, server: Any) -> None:
    server.answer_in_turn(*replies)
    client = caller.client(server.host, **{**OPTIONS, "retries": 0})
    method = client.projects.iterate_list
    if caller.kind == "async":
        method = client.projects.aiterate_list
    pages = method(size=1, extra_headers={"Authorization": f"Bearer {SECRET}-bearer"})
    with pytest.raises(humanloop.OpenApiException) as caught:
        caller.all(pages.pages() if whole else pages)
    assert_nothing_shows(caught.value)


def test_what_is_logged_later(caller: Any, tmp_path: Path) -> None:
    client = caller.client("http://127.0.0.1:1", **OPTIONS, spool=tmp_path)

    def later(name: str, **more: Any) -> None:
        keys = {"provider_api_keys": {"openai": f"{SECRET}-own"}, **more}
        if caller.kind == "sync":
            getattr(client, name)(**keys)
        else:
            caller.run(getattr(client, f"a{name}")(**keys))

    for name, more in (
        ("log_later", {"project": "p", "output": 5}),
        ("log_later", {"retries": 5}),
        ("feedback_later", {"type": "rating", "value": "good"}),
        ("feedback_later", {"type": 5, "data_id": "data_1"}),
    ):
        with pytest.raises(humanloop.OpenApiException) as caught:
            later(name, **more)
        assert_nothing_shows(caught.value)


def test_building_a_request(server: Any) -> None:
    with Humanloop(host=server.host, **OPTIONS) as client:
        with pytest.raises(humanloop.SchemaValidationError) as caught:
            client.build_request(client.chat, **chat(messages=5))
        assert_nothing_shows(caught.value)
        with pytest.raises(humanloop.SchemaValidationError) as caught:
            client.build_request(client.achat, **chat(messages=5))
        assert_nothing_shows(caught.value)


def test_what_an_error_hook_sees(caller: Any, server: Any) -> None:
    server.send_raw(b"")
    seen = 0

    def look(request: Any, error: BaseException) -> None:
        nonlocal seen
        seen += 1
        assert_nothing_shows(error)
        assert not any(SECRET in text for text in rendered(request))

    with pytest.raises(humanloop.ApiConnectionError):
        call(caller, server.host, idempotent=True, event_hooks={"error": [look]})
    assert (seen, len(server.requests)) == (2, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"proxy": f"ftp://user:{SECRET}@proxy.example"},
        {"host": "no"},
        {"api_key": f"{SECRET} {SECRET}"},
        {"openai_api_key": [SECRET]},
        {"timeout": -1},
        {"tiemout": 1},
    ],
)
def test_settings(options: dict[str, Any]) -> None:
    with pytest.raises(humanloop.OpenApiException) as caught:
        Humanloop(**{**OPTIONS, **options}).projects.list()
    assert_nothing_shows(caught.value)


def test_the_frames_of_the_user_stay(caller: Any, server: Any) -> None:
    """Those of hooks, and of what was handled when the call began."""

    def hook(request: Any) -> None:
        local = "of the hook"
        raise LookupError(local)

    def fail() -> None:
        local = "of the user"
        raise KeyError(local)

    client = caller.client(server.host, event_hooks={"request": [hook]})
    try:
        fail()
    except KeyError:
        with pytest.raises(LookupError) as caught:
            caller(client.projects.list)
    kept = [
        entry.tb_frame.f_locals.get("local")
        for error in chain(caught.value)
        for entry in entries(error)
    ]
    assert {"of the hook", "of the user"} <= set(kept)


@pytest.mark.parametrize("more", [{}, {"timeout": 0.2}], ids=["dropped", "late"])
def test_what_the_user_was_handling_stays(more: dict[str, Any], caller: Any, server: Any) -> None:
    def fail() -> None:
        local = "of the user"
        raise KeyError(local)

    if more:
        server.reply = server.hanging()
    else:
        server.send_raw(b"")
    client = caller.client(server.host, **OPTIONS)

    def handle() -> None:
        try:
            fail()
        except KeyError:
            client.projects.list(retries=0, **more)

    async def ahandle() -> None:
        try:
            fail()
        except KeyError:
            await client.projects.alist(retries=0, **more)

    with pytest.raises(humanloop.ApiConnectionError) as caught:
        handle() if caller.kind == "sync" else caller.run(ahandle())
    errors = [*chain(caught.value)]
    kept = [entry.tb_frame.f_locals.get("local") for error in errors for entry in entries(error)]
    assert "of the user" in kept
    assert_nothing_shows(caught.value)


def entries(error: BaseException) -> Iterator[types.TracebackType]:
    entry = error.__traceback__
    while entry is not None:
        yield entry
        entry = entry.tb_next


CREDENTIALS = (
    *("X-API-KEY", "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Api-Key"),
    *("Helicone-Auth", "Ocp-Apim-Subscription-Key", "X-Vault-Token", "X-Amz-Security-Token"),
    *("X-Session-Token", "Token", "X-Goog-Api-Key", "CF-Access-Client-Secret", "xapikey"),
    *("X-Hub-Signature", "X-Hub-Signature-256", "PRIVATE-TOKEN", "X-Auth", "X-Session", "DPoP"),
    *("X-Auth-Token", "Cf-Access-Jwt-Assertion", "X-Amz-Credential", "x-functions-key"),
    *("X-SAML-Assertion", "X-CAS-Ticket", "X-TOTP", "X-Amzn-Oidc-Data", "X-HMAC", "Macaroon"),
    *("X-Passcode", "X-User-Pin", "X-MFA-Code", "X-SSO", "JSESSIONID"),
)
ORDINARY = (
    *("Idempotency-Key", "X-Request-Id", "Content-Type", "ETag", "Accept", "Retry-After", "Host"),
    *("WWW-Authenticate", "Content-Length", "X-Retry-Count", "User-Agent", "Author", "X-Key-Id"),
    *("Cache-Control", "Surrogate-Key", "X-RateLimit-Remaining-Tokens", "CF-Access-Client-Id"),
    *("Public-Key-Pins", "X-Ping", "X-Spin"),
)


def test_names_of_headers() -> None:
    assert [name for name in CREDENTIALS if not is_secret_header(name)] == []
    assert [name for name in ORDINARY if is_secret_header(name)] == []


def test_names_in_bodies() -> None:
    secret = (
        "api_key",
        "apiKey",
        "provider_api_keys",
        "password",
        "token",
        "client_secret",
        "auth",
    )
    assert [name for name in secret if not is_secret_name(name)] == []
    ordinary = ("max_tokens", "session_id", "session", "next_page_token", "signature", "author")
    assert [name for name in ordinary if is_secret_name(name)] == []
    assert not is_secret_name(0)


def test_headers_show_no_credential_unless_they_are_asked() -> None:
    fields = dict.fromkeys(CREDENTIALS, SECRET) | dict.fromkeys(ORDINARY, "shown")
    headers = Headers(fields)
    for shown in (repr(headers), str(dict(headers.items())), str([*headers.values()])):
        assert SECRET not in shown
        assert shown.count("shown") == len(ORDINARY)
    assert not any(SECRET in text for text in rendered(headers))
    assert dict(headers) == headers.reveal() == {**headers} == fields
    assert headers.get("token") == SECRET
    assert Headers(headers) == headers == fields
    headers.add("Set-Cookie", "b")
    assert headers.getlist("set-cookie") == [SECRET, "b"]
    assert headers["Set-Cookie"] == f"{SECRET}, b"


def test_masks_of_headers_in_commands_and_errors(caller: Any, server: Any) -> None:
    client = caller.client(server.host)
    headers = dict.fromkeys(CREDENTIALS, SECRET)
    command = client.build_request(client.projects.list, extra_headers=headers).as_curl()
    assert SECRET not in command
    assert command.lower().count(": ***'") == len(CREDENTIALS)
    server.answer({}, 400, Set_Cookie=f"id={SECRET}", X_Session_Token=SECRET, ETag="e")
    with pytest.raises(humanloop.BadRequestError) as caught:
        caller(client.projects.list)
    assert caught.value.headers is not None
    assert SECRET not in repr(caught.value.headers)
    assert "'ETag': 'e'" in repr(caught.value.headers)
    assert caught.value.headers["set-cookie"] == f"id={SECRET}"


def test_the_configuration_gives_keys_to_who_asks() -> None:
    configuration = Configuration(**{**OPTIONS, "proxy": f"http://u:{SECRET}@proxy.example:1"})
    assert not any(SECRET in text for text in rendered(configuration))
    assert configuration.api_key["APIKeyHeader"] == f"{SECRET}-hl"
    assert configuration.api_key == {"APIKeyHeader": f"{SECRET}-hl"} == {**configuration.api_key}
    assert configuration.openai_api_key == f"{SECRET}-openai"
    assert configuration.proxy == f"http://u:{SECRET}@proxy.example:1"
    assert configuration.auth_settings()["APIKeyHeader"]["value"] == f"{SECRET}-hl"
    assert [*configuration.api_key.items()] == [("APIKeyHeader", "***")]
    configuration.api_key["APIKeyHeader"] = "other"
    assert configuration.get_api_key_with_prefix("APIKeyHeader") == "other"


def test_a_request_gives_its_body_to_who_asks(configuration: Configuration) -> None:
    request = humanloop.ApiClient(configuration).prepare(CHATS_CREATE, chat_body())
    assert SECRET.encode() in (request.body or b"")
    assert not any(SECRET in text for text in rendered(request))


def chat_body() -> dict[str, Any]:
    arguments = chat()
    del arguments["extra_headers"]
    return arguments

"""A database's URL may hold secrets: they show nowhere."""

from __future__ import annotations

import logging
import sys
import traceback
from urllib.parse import quote

import pytest

from humanloop import cli
from humanloop.server import EmbeddedServer, Settings, StartError, create_app
from humanloop.server.http.welcome import Welcome
from humanloop.server.store import urls
from humanloop.server.store.database import Database

from ..api import API_KEY, Api
from ..databases import query

SECRETS = ("p@ss'w/ord", "ssl-pass word", "setting-secret")
PASSWORD, SSL, SETTING = SECRETS
OPTIONS = f"sslpassword={quote(SSL)}&options={quote(f'-c x.y={SETTING}', '')}"
FORMS = {form for each in SECRETS for form in (each, quote(each), quote(each, ""))}
IN_PLACE = f"postgresql://user:{quote(PASSWORD, '')}@127.0.0.1:1/name?{OPTIONS}"
IN_QUERY = f"postgresql://user@127.0.0.1:1/name?password={quote(PASSWORD, '')}&{OPTIONS}"


def check(text: str) -> None:
    """See that no secret is in a text."""
    assert text
    assert [form for form in FORMS if form in text] == []


@pytest.mark.parametrize("url", [IN_PLACE, IN_QUERY])
class TestSecrets:
    """Wherever a URL may show."""

    def test_as_it_is_shown(self, url: str) -> None:
        shown = urls.shown(url)
        check(shown)
        assert shown == ("postgresql://user:***@127.0.0.1:1/name?options=***&sslpassword=***")
        check(repr(urls.without_secrets(urls.parse(url))))

    def test_the_welcome(self, url: str) -> None:
        welcome = Welcome("http://localhost", [], url, None, None)
        check(welcome.to_text())
        check(welcome.to_json())

    def test_a_database_that_can_t_be_reached(
        self, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("psycopg")
        with pytest.raises(StartError, match=r"127\.0\.0\.1:1/name") as caught:
            Database.open(url)
        check("".join(traceback.format_exception(caught.value)))
        assert cli.main(["serve", "--port", "0", "--database", url]) == 1
        error = capsys.readouterr().err
        check(error)
        assert error.count("\n") == 1

    @pytest.mark.parametrize(
        "more", ["&nonsense=1", "&port=soon", "&connect_timeout=soon", "&sslmode=nonsense"]
    )
    def test_an_option_that_is_wrong(self, url: str, more: str) -> None:
        with pytest.raises(StartError) as caught:
            Database.open(url + more)
        check("".join(traceback.format_exception(caught.value)))

    def test_objects(self, url: str) -> None:
        check(repr(EmbeddedServer(url)))
        check(repr(Settings()))


def test_what_is_no_secret_is_shown() -> None:
    url = "postgresql://user@host/name?passfile=/file&sslkey=/key&sslmode=verify-full"
    shown = urls.shown(url)
    assert "***" not in shown
    assert all(text in shown for text in ("passfile", "verify-full"))


@pytest.mark.postgresql
def test_a_server_that_runs_tells_none(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"{postgres_url}&password={quote(PASSWORD, '')}&{OPTIONS}"
    with EmbeddedServer(url, api_key=API_KEY) as server:
        api = Api(server.url)
        api.log("p")
        name = urls.parse(url).database
        query(postgres_url, "ALTER TABLE projects RENAME TO away")
        check(api.call("GET", "/projects").text)
        query(postgres_url, "ALTER TABLE away RENAME TO projects")
        query(postgres_url.replace(str(name), "postgres"), f"DROP DATABASE {name} WITH (FORCE)")
        answers = [api.call("GET", "/projects"), api.call("POST", "/sessions")]
        query(postgres_url.replace(str(name), "postgres"), f"CREATE DATABASE {name}")
    assert [each.status for each in answers] == [503, 503]
    for each in answers:
        check(each.text)
    check(caplog.text)
    assert "can't be used right now" in caplog.text


def test_what_the_driver_is_missing_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StartError, match=r"install the extra `postgres`: pip install '\.\[post"):
        create_app("postgresql://user@host/name", [API_KEY])


@pytest.mark.parametrize("key", ["pwd", "pass", "sslpassword", "PASSWORD"])
def test_a_parameter_that_nobody_knows_may_be_a_secret(key: str) -> None:
    shown = urls.shown(f"postgresql://user@127.0.0.1/name?{key}=very-secret&sslmode=require")
    assert f"{key}=***" in shown
    assert "sslmode=require" in shown


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("postgresql://user:very-secret@pw@host/name", "%40"),
        ("host=localhost user=u password=very-secret", "must be a file such as"),
        ("mysql://user:very-secret@host/name", "must be a file such as"),
    ],
)
def test_a_name_that_can_t_be_used_is_not_repeated(name: str, said: str) -> None:
    with pytest.raises(StartError, match=said) as caught:
        urls.parse(name)
    assert "secret" not in str(caught.value)


def test_libpq_s_short_scheme_is_known() -> None:
    assert urls.parse("postgres://u@h/n") == urls.parse("postgresql://u@h/n")


def test_a_directory_is_no_database() -> None:
    with pytest.raises(StartError, match="/ is a directory"):
        urls.file_of(urls.parse("/"))

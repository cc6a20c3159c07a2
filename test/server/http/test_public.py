"""What the server answers without a key."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml

from humanloop import __version__
from humanloop.server import EmbeddedServer
from humanloop.server.http.public import Public

from ..api import Api

ROOT = Path(__file__).parents[3]


@pytest.fixture
def anyone(server: EmbeddedServer) -> Api:
    """Calls the server's root, without a key."""
    return Api(server.url.removesuffix("/v4"), None)


class TestHealth:
    def test_is_ok(self, anyone: Api) -> None:
        answer = anyone.send("GET", "/health")
        assert (answer.status, answer.body) == (200, {"status": "ok", "version": __version__})
        assert answer.headers["Content-Type"] == "application/json"

    def test_answers_head(self, anyone: Api) -> None:
        answer = anyone.send("HEAD", "/health")
        assert (answer.status, answer.text) == (200, "")
        assert int(answer.headers["Content-Length"]) > 0

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
    def test_takes_no_other_method(self, method: str, anyone: Api) -> None:
        answer = anyone.send(method, "/health", b"{}" if method == "POST" else None)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")

    @pytest.mark.parametrize("path", ["/health/", "/healthz", "/v4/health", "/Health"])
    def test_is_at_one_path(self, path: str, anyone: Api) -> None:
        assert anyone.send("GET", path).status == 401

    @pytest.mark.parametrize("path", ["/health", "/v4/openapi.json"])
    def test_goes_through_the_guard(self, path: str, anyone: Api) -> None:
        assert anyone.send("GET", path, host="evil.example").status == 400
        assert anyone.send("GET", path, origin="http://evil.example").status == 403

    def test_is_no_noise_in_the_log(self, anyone: Api, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "humanloop.server"):
            anyone.send("GET", "/health")
            anyone.send("GET", "/v4/openapi.json")
        assert [record.getMessage().split(":")[0] for record in caplog.records] == [
            "GET /v4/openapi.json"
        ]

    def test_tells_of_a_damaged_database(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "own.db"
        monkeypatch.setattr("humanloop.server.http.public._CHECK_SECONDS", -1)
        with EmbeddedServer(str(path), api_key="key") as server:
            anyone = Api(server.url.removesuffix("/v4"), None)
            assert anyone.send("GET", "/health").status == 200
            with path.open("r+b") as file:
                file.write(b"\0" * path.stat().st_size)
            Path(f"{path}-wal").write_bytes(b"\0" * 100)
            Api(server.url, "key").call("POST", "/projects", {"name": "x"})
            answer = anyone.send("GET", "/health")
        assert answer.status == 503
        assert answer.body["status"] == "damaged"
        assert "is damaged" in answer.body["detail"]

    def test_a_flood_is_one_question_to_the_database(
        self, anyone: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[None] = []
        read = Public._read
        monkeypatch.setattr("humanloop.server.http.public._CHECK_SECONDS", 600)
        monkeypatch.setattr(Public, "_read", lambda self: asked.append(None) or read(self))
        assert {anyone.send("GET", "/health").status for _ in range(50)} == {200}
        assert len(asked) <= 1


class TestDocument:
    def test_is_the_whole_one(self, anyone: Api) -> None:
        answer = anyone.send("GET", "/v4/openapi.json")
        assert answer.status == 200
        document = yaml.safe_load((ROOT / "openapi.yaml").read_text("utf-8"))
        url = f"{anyone.url}/v4"
        assert answer.body == {**document, "servers": [{"url": url, "description": "This server"}]}

    def test_points_to_the_server_as_it_was_called(self, anyone: Api) -> None:
        answer = anyone.send("GET", "/v4/openapi.json", host="localhost:99")
        assert answer.body["servers"][0]["url"] == "http://localhost:99/v4"

    def test_answers_head(self, anyone: Api) -> None:
        answer = anyone.send("HEAD", "/v4/openapi.json")
        assert (answer.status, answer.text) == (200, "")
        assert int(answer.headers["Content-Length"]) > 100_000

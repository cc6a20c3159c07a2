"""A minimal server in a process of its own: canned answers over kept-alive sockets."""

from __future__ import annotations

import json
import socket
import sys
from threading import Thread

from bench.payloads import project

__all__ = ["main"]


def _answer(value: object) -> bytes:
    body = json.dumps(value).encode()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
    return f"{head}{len(body)}\r\n\r\n".encode() + body


def _serve(connection: socket.socket, answers: dict[bytes, bytes]) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as stream:
        while request := stream.readline():
            size = 0
            while (header := stream.readline()) != b"\r\n":
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    size = int(value)
            stream.read(size)
            connection.sendall(answers[request.split()[0]])


def main() -> None:
    """Print the port, then serve until killed."""
    logged = [{"id": f"data_{n}", "project_id": "pr_1"} for n in range(1000)]
    answers = {b"GET": _answer(project()), b"POST": _answer(logged)}
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    sys.stdin.close()
    while True:
        connection, _ = listener.accept()
        Thread(target=_serve, args=(connection, answers), daemon=True).start()

"""The first output of `humanloop serve`: all that a newcomer needs, or the same as JSON.

It names the server's address, the place of the data, the place of the key, and lines to paste.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from humanloop import __version__, schemas
from humanloop.server.generation.registry import Description
from humanloop.server.http import guard
from humanloop.server.http.routing import PREFIX
from humanloop.server.store import urls

# Addresses reserved for documentation: RFC 5737 and RFC 3849.
_NOWHERE = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}


@dataclass(frozen=True)
class Welcome:
    """The contents of the first output.

    url: the address for this machine. elsewhere: the addresses for other machines.
    key_file: the file of the key. new_key: a key that is kept nowhere and was never shown.
    providers: the providers of models.
    """

    url: str
    elsewhere: Sequence[str]
    database_url: str
    key_file: Path | None
    new_key: str | None
    providers: Sequence[Description] = ()

    @property
    def database(self) -> str:
        """Return the database's URL without its password."""
        return urls.shown(self.database_url)

    def to_json(self) -> str:
        """Return the contents as a JSON object on one line."""
        fields: dict[str, Any] = {
            "url": self.url,
            "elsewhere": list(self.elsewhere),
            "database": self.database,
            "key_file": None if self.key_file is None else str(self.key_file),
            "api_key": self.new_key,
            "providers": [
                {"name": each.name, "url": each.url, "lacks": each.lacks} for each in self.providers
            ],
            "version": __version__,
        }
        return schemas.to_json(fields)

    def to_text(self) -> str:
        """Return the contents as text."""
        elsewhere = "".join(f"\n            {url}, from other machines" for url in self.elsewhere)
        return f"""
humanloop {__version__} is serving.

  API       {self.url}{elsewhere}
  Database  {self.database}
  API key   {self._key()}
  Models    {self._models()}

In another terminal:

  export HUMANLOOP_BASE_URL={self.url}
  export HUMANLOOP_API_KEY={self._exported()}

and in Python:

  from humanloop import Humanloop

  client = Humanloop()
  client.log(project="hello", config={{"model": "gpt-4"}}, output="Hi!")
  print(client.projects.list().body["records"])
{self._warning()}{self._advice()}
Press Ctrl+C to stop."""

    def _key(self) -> str:
        if self.key_file is not None:
            return f"in {self.key_file}, which only you can read"
        return (
            "the one that you gave" if self.new_key is None else f"{self.new_key}  (shown only now)"
        )

    def _models(self) -> str:
        """Return a line for each provider, with the reason if it can't be used."""
        lines = [
            f"{each.name}  {each.url or 'built in'}{f'  ({each.lacks})' if each.lacks else ''}"
            for each in self.providers
        ]
        if not any(each.url for each in self.providers):
            lines.append("no others: add --provider openai, anthropic or NAME=URL")
        return "\n            ".join(lines)

    def _exported(self) -> str:
        if self.key_file is not None:
            return f"$(cat {shlex.quote(str(self.key_file))})"
        return self.new_key or "the-key-that-you-gave"

    def _warning(self) -> str:
        if not self.elsewhere:
            return ""
        return (
            "\nWarning: other machines can reach it, and keys are sent unencrypted."
            " Put TLS in front.\n"
        )

    def _advice(self) -> str:
        if self.new_key is None:
            return ""
        return "\nTo keep this key, start the server with HUMANLOOP_API_KEY set to it.\n"


def url_of(listener: socket.socket) -> str:
    """Return the base URL of the API at a listening socket, for this machine."""
    host, port = listener.getsockname()[:2]
    if guard.is_unspecified(host):
        host = "::1" if ":" in host else "127.0.0.1"
    return _url(host, port)


def urls_elsewhere(listener: socket.socket) -> list[str]:
    """Return the base URLs for other machines; none for a socket on a loopback address."""
    host, port = listener.getsockname()[:2]
    if guard.is_unspecified(host):
        host = _own_address(socket.AddressFamily(listener.family))
    return [] if guard.is_loopback(host) else [_url(host, port)]


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PREFIX}"


def _own_address(family: socket.AddressFamily) -> str:
    """Return the address, or else the name, by which others reach this machine."""
    for version in (socket.AF_INET, family):
        try:
            with socket.socket(version, socket.SOCK_DGRAM) as probe:
                # This sends nothing, but selects the address that packets would leave from.
                probe.connect(_NOWHERE[version])
                address: str = probe.getsockname()[0]
        except OSError:
            continue
        if not guard.is_loopback(address):
            return address
    return socket.gethostname()

"""Add the modules of the client, and the JSON codec of the extra `fast` if it is installed."""

from importlib.util import find_spec

from humanloop._pyinstaller import modules_below

# The command and the quickstart import the server, which few programs need, and a plugin pytest.
LEFT_OUT = (
    *("humanloop._pyinstaller", "humanloop.cli", "humanloop.quickstart", "humanloop.server"),
    "humanloop.pytest_plugin",
)

hiddenimports = [
    *modules_below("humanloop", without=LEFT_OUT),
    *(["msgspec"] if find_spec("msgspec") else []),
]

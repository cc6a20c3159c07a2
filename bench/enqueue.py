"""The cost of logging one completion: `log_later` compared to the queues of other packages.

    python -m bench.enqueue
    python -m bench.enqueue --rounds 5 --logs 2000

Each contestant is a process of its own, in its own environment, and logs the same texts of 1.7 kB
to a server that does not exist. Ours validates the log and writes it to a file; the others put it
into a queue in memory, and drop what exceeds its size (2,048 for OpenTelemetry and Langfuse, 10,000
for PostHog, 100 for Sentry). The output is the microseconds of a call, from one thread with a pause
of a millisecond after each call, and from 16 threads without pauses, and the ratio ours/theirs
within a round.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from bench import environments

NOWHERE = "http://127.0.0.1:9"
THREADS = 16
QUESTION, OUTPUT = "Where is my parcel? " * 40, "It arrives on Friday. " * 35
PARAMETERS: dict[str, Any] = {"model": "gpt-4", "temperature": 0.2}

Log = Callable[[], object]


def ours() -> Log:
    """humanloop, in this checkout: to a file that outlives the process."""
    module = import_module("humanloop")
    directory = tempfile.mkdtemp(prefix="humanloop-enqueue-")
    options = module.SpoolOptions(directory, max_bytes=1 << 30)
    client = module.Humanloop("key", f"{NOWHERE}/v4", spool=options)
    return lambda: client.log_later(
        project="p", config=PARAMETERS, inputs={"question": QUESTION}, output=OUTPUT, duration=0.5
    )


def validation() -> Log:
    """The part of ours that validates and writes JSON, for comparison."""
    operation = import_module("humanloop.apis.operations").LOGS_LOG
    serialize = import_module("humanloop.operation").serialize
    moment, reference = "2026-01-01T00:00:00.000001+00:00", "0b0e8a4e-0000-4000-8000-000000000000"
    given: dict[str, Any] = {"project": "p", "config": PARAMETERS, "inputs": {"question": QUESTION}}
    given |= {"output": OUTPUT, "duration": 0.5, "created_at": moment, "reference_id": reference}
    return lambda: serialize(operation, given)


def langfuse() -> Log:
    """Langfuse: a generation."""
    client = import_module("langfuse").Langfuse(public_key="k", secret_key="k", base_url=NOWHERE)
    return lambda: client.start_observation(
        as_type="generation",
        name="completion",
        model="gpt-4",
        model_parameters={"temperature": 0.2},
        input=QUESTION,
        output=OUTPUT,
    ).end()


def opentelemetry() -> Log:
    """OpenTelemetry: a span, by the batch processor."""
    trace = import_module("opentelemetry.sdk.trace")
    export = import_module("opentelemetry.sdk.trace.export")
    otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    provider = trace.TracerProvider()
    exporter = otlp.OTLPSpanExporter(endpoint=f"{NOWHERE}/v1/traces")
    provider.add_span_processor(export.BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("bench")
    attributes = {"input.value": QUESTION, "output.value": OUTPUT, "llm.model_name": "gpt-4"}
    return lambda: tracer.start_span("completion", attributes=attributes).end()


def sentry() -> Log:
    """Sentry: a transaction of one span."""
    sdk = import_module("sentry_sdk")
    sdk.init(dsn="http://k@127.0.0.1:9/1", traces_sample_rate=1.0, default_integrations=False)

    def log() -> None:
        with sdk.start_transaction(op="gen_ai.chat", name="completion") as transaction:
            transaction.set_data("gen_ai.request.model", "gpt-4")
            transaction.set_data("gen_ai.request.messages", QUESTION)
            transaction.set_data("gen_ai.response.text", OUTPUT)

    return log


def posthog() -> Log:
    """PostHog: an event of its analytics for language models."""
    client = import_module("posthog").Posthog("k", host=NOWHERE)
    properties = {"$ai_model": "gpt-4", "$ai_input": QUESTION, "$ai_output_choices": OUTPUT}
    return lambda: client.capture("$ai_generation", distinct_id="ada", properties=properties)


CONTESTANTS: dict[str, tuple[str, Callable[[], Log]]] = {
    "humanloop": ("ours", ours),
    "(its validation)": ("ours", validation),
    "Langfuse": ("langfuse", langfuse),
    "OpenTelemetry": ("opentelemetry", opentelemetry),
    "Sentry": ("sentry", sentry),
    "PostHog": ("posthog", posthog),
}


def measure(log: Log, logs: int) -> dict[str, float]:
    """Return the microseconds of a call."""
    for _ in range(200):
        log()
    alone = _times(log, logs, pause=0.001)
    together: list[float] = []
    barrier = threading.Barrier(THREADS)

    def run() -> None:
        barrier.wait()
        together.extend(_times(log, logs // THREADS))

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "p50": statistics.median(alone),
        "p99": _quantile(alone, 0.99),
        f"{THREADS} threads: p50": statistics.median(together),
        f"{THREADS} threads: p99": _quantile(together, 0.99),
    }


def _times(log: Log, count: int, pause: float = 0.0) -> list[float]:
    found: list[float] = []
    for _ in range(count):
        started = time.perf_counter_ns()
        log()
        found.append((time.perf_counter_ns() - started) / 1000)
        if pause:
            time.sleep(pause)
    return found


def _quantile(times: Sequence[float], share: float) -> float:
    return sorted(times)[int(share * (len(times) - 1))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all contestants in turn; or run as one of them."""
    parser = argparse.ArgumentParser(description="What it costs to log one completion.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--logs", type=int, default=2000)
    parser.add_argument("--be", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.be:
        logging.disable()  # errors, since there is no server
        log = CONTESTANTS[options.be][1]()
        print(json.dumps(measure(log, options.logs)), flush=True)
        os._exit(0)  # nothing can be sent, so nothing is waited for
    version, python = next(iter(environments.pythons(()).items()))
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(options.rounds):
        order = list(CONTESTANTS) if number % 2 == 0 else list(reversed(CONTESTANTS))
        rounds.append({name: _run(name, version, python, options.logs) for name in order})
    print(f"{'':<20}" + "".join(f"{name:>18}" for name in rounds[0]["humanloop"]) + f"{'ratio':>8}")
    for name in CONTESTANTS:
        figures = [[each[name][key] for each in rounds] for key in rounds[0][name]]
        ratio = statistics.median(each["humanloop"]["p50"] / each[name]["p50"] for each in rounds)
        shown = "".join(f"{statistics.median(each):>15.1f} us" for each in figures)
        print(f"{name:<20}{shown}{ratio:>7.2f}x")


def _run(name: str, version: str, python: str, logs: int) -> dict[str, float]:
    made = environments.make_one(CONTESTANTS[name][0], version, python)
    command = environments.command(made, "enqueue", "--be", name, "--logs", str(logs))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()

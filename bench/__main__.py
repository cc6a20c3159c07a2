"""The command: see README.md, or `python -m bench --help`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from bench import chart, environments, growth, guard, report
from bench.runner import MEASURES, Packages, Result, facts, run

NAMES = [measure.name for measure in MEASURES]
GUARDED = [
    "experiment",
    "log",
    "log_new",
    "log_json",
    "page_json",
    "encode",
    "memory_log",
    "call_cpu",
    "acall_cpu",
]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description="Measure the client.")
    parser.add_argument("what", nargs="?", default="run", choices=list(COMMANDS))
    add = parser.add_argument
    add("--python", action="append", default=[], metavar="3.x", help="may be given several times")
    add("--only", choices=NAMES, nargs="+", help="these measures alone")
    add("--rounds", type=int, default=15)
    add("--quick", action="store_true", help="five rounds of the main measures")
    add("--markdown", action="store_true", help="print the table as Markdown")
    add("--chart", type=Path, metavar="FILE.svg", help="draw the results, of the first Python")
    add("--keep", action="store_true", help="guard: keep these ratios")
    add("--nodes", type=int, default=10**6, help="growth: of the largest payload")
    add("--stream", type=int, default=5000, help="growth: logs whose keys never repeat")
    return parser.parse_args()


def _names(options: argparse.Namespace, default: list[str]) -> list[str]:
    return options.only or (["experiment", "log", "log_json"] if options.quick else default)


def _run(options: argparse.Namespace, environment: dict[str, dict[str, str]]) -> int:
    results: list[Result] = []
    packages: dict[str, Packages] = {}
    rounds = 5 if options.quick else options.rounds
    for version, interpreters in environment.items():
        found, versions = run(interpreters, _names(options, NAMES), rounds)
        shown = report.markdown(found) if options.markdown else report.table(found)
        print(f"\nPython {version}\n\n{shown}", flush=True)
        results += found
        packages[version] = versions
    kept = {"machine": facts(), "packages": packages, "results": [asdict(one) for one in results]}
    (environments.BUILD / "results.json").write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    if options.chart:
        first = [result for result in results if result.python == results[0].python]
        options.chart.write_text(chart.svg(first), "utf-8")
    return 0


def _guard(options: argparse.Namespace, environment: dict[str, dict[str, str]]) -> int:
    failures = []
    rounds = 5 if options.quick else options.rounds
    for version, interpreters in environment.items():
        found, _ = run(interpreters, options.only or GUARDED, rounds)
        if options.keep:
            guard.keep(version, found)
        else:
            failures += guard.worse(version, interpreters, found, rounds)
    print("\n".join(failures) or "no ratio is worse by more than a quarter")
    return 1 if failures else 0


def _inside(environment: dict[str, dict[str, str]], module: str, *arguments: str) -> int:
    """Run a module in our environments; return the worst of the exit codes."""
    codes = []
    for version, interpreters in environment.items():
        print(f"\nPython {version}\n", flush=True)
        line = environments.command(interpreters["ours"], module, *arguments)
        codes.append(subprocess.run(line).returncode)
    return max(codes)


def _growth(options: argparse.Namespace, environment: dict[str, dict[str, str]]) -> int:
    code = _inside(environment, "growth", str(options.nodes), str(options.stream))
    if options.chart and code == 0:
        options.chart.write_text(chart.growth(json.loads(growth.KEPT.read_text("utf-8"))), "utf-8")
    return code


COMMANDS = {"run": _run, "growth": _growth, "guard": _guard}


def main() -> int:
    """Run the chosen measurements; return 1 if the guard finds something worse."""
    options = _arguments()
    found = environments.pythons(options.python)
    environment = {version: environments.make(version, path) for version, path in found.items()}
    return COMMANDS[options.what](options, environment)


if __name__ == "__main__":
    sys.exit(main())

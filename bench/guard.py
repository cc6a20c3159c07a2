"""The guard against slower code: our ratios to the rivals compared to those in ratios.json.

Ratios hold across machines, times do not. A measure that seems worse is measured again with three
times the rounds, since a busy machine can spoil a few.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench.contestants import ROOT
from bench.runner import Result, run

__all__ = ["keep", "worse"]

KEPT = ROOT / "bench" / "ratios.json"
WORSE = 1.25

Ratios = dict[str, float]


def _ratios(results: Sequence[Result]) -> Ratios:
    return {
        f"{result.measure}: {subject}/{rival}": round(quartiles[1], 4)
        for result in results
        for subject, ratios in result.ratios.items()
        for rival, quartiles in ratios.items()
    }


def _kept() -> dict[str, Ratios]:
    found: dict[str, Ratios] = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    return found


def keep(version: str, results: Sequence[Result]) -> None:
    """Keep these ratios for this version of Python."""
    kept = {**_kept()}
    kept[version] = {**kept.get(version, {}), **_ratios(results)}
    KEPT.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", "utf-8")


def worse(
    version: str, interpreters: dict[str, str], results: Sequence[Result], rounds: int
) -> list[str]:
    """Return a line for each measure that got worse by more than a quarter."""
    kept = _kept().get(version)
    if kept is None:
        raise SystemExit(f"no ratios are kept for Python {version}: python -m bench guard --keep")

    def found(results: Sequence[Result]) -> Ratios:
        ratios = _ratios(results).items()
        return {name: now for name, now in ratios if now > WORSE * kept.get(name, now)}

    if bad := found(results):
        names = [result.measure for result in results]
        again = [name for name in names if any(key.startswith(f"{name}:") for key in bad)]
        bad = found(run(interpreters, again, 3 * rounds)[0])
    return [f"{name} was {kept[name]}, is {now} on {version}" for name, now in bad.items()]

"""The command line: `python -m codegen` writes the generated files, `python -m codegen --check`
compares.

Exit code 0: the tree is as generated. 1: it differs (`--check`), or holds files nobody generated.
2: wrong use.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from codegen import ir, spec
from codegen.markdown import with_sections
from codegen.render import readme, render
from codegen.write import differences, write

ROOT = Path(__file__).resolve().parent.parent
README = "README.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the generator, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m codegen", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing, exit 1 if a file differs"
    )
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="the repository (default: this one)"
    )
    options = parser.parse_args(arguments)

    api = ir.build(spec.load(options.root / "openapi.yaml"))
    files = render(api)
    by_hand = (options.root / README).read_text(encoding="utf-8")
    files[README] = with_sections(by_hand, readme(api))
    found = differences(options.root, files)
    for difference in found:
        print(f"{difference.kind}: {difference.path}")
        if options.check and (summary := difference.summary()):
            print(summary)
    if not options.check:
        write(options.root, found)
    done = "differ" if options.check else "written or removed"
    unknown = sum(difference.kind == "unknown" for difference in found)
    print(f"{len(files)} generated files, {len(found) - unknown} {done}, {unknown} unknown")
    return int(bool(found if options.check else unknown))


if __name__ == "__main__":
    sys.exit(main())

"""The command line: `python -m codegen` writes the generated files of this repository, `python -m
codegen --check` compares; with --spec it writes a package for another API.

Exit code 0: the tree is as generated. 1: it differs (`--check`), or holds files nobody generated.
2: wrong use, a document that the generator does not support, or a folder that can't be written.
"""

from __future__ import annotations

import argparse
import json
import keyword
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from codegen import ir
from codegen.markdown import with_sections
from codegen.reading import load
from codegen.render import folders, is_generated, readme, render
from codegen.spec import SpecError
from codegen.write import differences, write
from humanloop.operation import PACKAGE

ROOT = Path(__file__).resolve().parent.parent
README = "README.md"
DOCUMENT = "humanloop/server/http/openapi.json"  # openapi.yaml, as served by the embedded server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the generator, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m codegen", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing, exit 1 if a file differs"
    )
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="the repository (default: this one)"
    )
    other = parser.add_argument_group("another API")
    other.add_argument("--spec", type=Path, help="its document: OpenAPI 3.0, YAML or JSON")
    other.add_argument("--package", help="the package to write, such as petstore or app.petstore")
    other.add_argument("--output", type=Path, help="the folder that the package goes into")
    other.add_argument("--leave-out", action="store_true", help="omit unsupported operations")
    options = parser.parse_args(arguments)

    given = [options.spec, options.package, options.output]
    if any(given) and not all(given):
        parser.error("--spec, --package and --output go together")
    package: str = options.package or PACKAGE
    if options.package and (problem := _package_problem(package)):
        parser.error(f"--package {package}: {problem}")
    root: Path = options.output or options.root
    source: Path = options.spec or root / "openapi.yaml"
    try:
        document = load(source, leave_out=options.leave_out)
        api = ir.build(document, package)
    except SpecError as error:
        print(error, file=sys.stderr)
        return 2
    except RecursionError:
        print(f"{source.name}: nested too deeply", file=sys.stderr)
        return 2
    for problem in document.left_out.values():
        print(f"left out: {problem}")
    files = render(api)
    if package == PACKAGE:
        by_hand = (root / README).read_text(encoding="utf-8")
        files[README] = with_sections(by_hand, readme(api))
        # One line per value, for the diffs of version control.
        files[DOCUMENT] = json.dumps(document.document, ensure_ascii=False, indent=0) + "\n"
    try:
        return _bring_in_line(root, files, package, check=options.check)
    except OSError as error:
        print(f"can't write: {error}", file=sys.stderr)
        return 2


def _bring_in_line(root: Path, files: Mapping[str, str], package: str, *, check: bool) -> int:
    """Write the files, or compare them; print the differences, and return the exit code."""
    found = differences(root, files, folders(package))
    by_hand = [d.path for d in found if d.kind == "changed" and not is_generated(d.found or "")]
    if package != PACKAGE and by_hand:
        print(f"not generated, so not overwritten: {', '.join(by_hand)}", file=sys.stderr)
        return 2
    for difference in found:
        print(f"{difference.kind}: {difference.path}")
        if check and (summary := difference.summary()):
            print(summary)
    if not check:
        write(root, found)
    done = "differ" if check else "written or removed"
    unknown = sum(difference.kind == "unknown" for difference in found)
    print(f"{len(files)} generated files, {len(found) - unknown} {done}, {unknown} unknown")
    return int(bool(found if check else unknown))


def _package_problem(package: str) -> str | None:
    """Return why a package can't be written under a name, or None."""
    parts = package.split(".")
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        return "it is not a name that Python can import"
    if parts[0] == PACKAGE or parts[0] in sys.stdlib_module_names:
        return f"the name {parts[0]} is taken, by humanloop or the standard library"
    return None


if __name__ == "__main__":
    sys.exit(main())

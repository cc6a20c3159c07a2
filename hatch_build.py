"""Compile the converters of the schema runtime, where Cython and a C compiler are there.

Everything works without. `HUMANLOOP_BUILD` says what is wanted: `auto` (the default) compiles where
it can, `require` fails where it can't, `no` leaves it. The binary is made anew each time, in a
folder of its own, and marked with its source, so that one of another source is never used.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path("humanloop", "schemas")
SOURCE = "converters"
MODULE = "_converters"
DIRECTIVES = {
    "auto_pickle": False,
    "annotation_typing": False,  # annotations are for type checkers, converters.pxd is for C
    "binding": False,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
}


class CustomBuildHook(BuildHookInterface[Any]):
    """What hatchling calls around the building of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the binary into the wheel; for an editable installation, beside its source."""
        self.work = Path(tempfile.mkdtemp(prefix="humanloop-"))
        wanted = os.environ.get("HUMANLOOP_BUILD", "auto")
        if wanted not in ("auto", "require", "no"):
            raise ValueError(f"HUMANLOOP_BUILD has to be auto, require or no, got {wanted!r}")
        if wanted == "no" or (wanted == "auto" and not is_supported()):
            return
        try:
            binary = compile_source(Path(self.root) / PACKAGE, self.work)
        except BaseException as error:  # setuptools ends the process by SystemExit
            if wanted == "require" or isinstance(error, KeyboardInterrupt):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            self.app.display_warning(
                f"humanloop is installed as pure Python, which works the same: {reason:.200}"
            )
            return
        if version == "editable":
            # As a new file: processes that run have the old one mapped into their memory. Until it
            # is whole it is hidden, and named such that no wheel takes it that is built meanwhile.
            beside = Path(self.root) / PACKAGE / binary.name
            hidden = beside.with_name(f".{binary.name}")
            shutil.copy(binary, hidden)
            hidden.replace(beside)
        else:
            build_data["force_include"][str(binary)] = str(PACKAGE / binary.name)
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what the wheel was made of."""
        shutil.rmtree(self.work, ignore_errors=True)


def is_supported() -> bool:
    """Return whether the binary was tried on this kind of Python."""
    is_free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    return sys.implementation.name == "cpython" and not is_free_threaded


def compile_source(package: Path, work: Path) -> Path:
    """Return the binary of the converters that stand in `package`, made in the folder `work`.

    Raises:
        Exception: there is no Cython, no C compiler, or either of them fails.
    """
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    copy = work / PACKAGE
    copy.mkdir(parents=True)
    for folder in (copy, copy.parent):
        (folder / "__init__.py").touch()
    source = (package / f"{SOURCE}.py").read_bytes()
    # By this, `native` tells whether the binary was made of the source that it finds.
    mark = f"\nSOURCE = {zlib.crc32(source)}\n".encode()
    (copy / f"{MODULE}.py").write_bytes(source + mark)
    shutil.copy(package / f"{SOURCE}.pxd", copy / f"{MODULE}.pxd")

    extension = Extension(".".join((*PACKAGE.parts, MODULE)), [str(copy / f"{MODULE}.py")])
    if sys.platform != "win32":
        extension.extra_compile_args = ["-g0"]
    if sys.platform == "linux":
        extension.extra_link_args = ["-Wl,--strip-all"]
    extensions = cythonize(
        [extension], language_level=3, quiet=True, compiler_directives=DIRECTIVES
    )
    command = build_ext(Distribution({"name": "humanloop", "ext_modules": extensions}))
    command.build_lib = command.build_temp = str(work)
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath(extension.name))

# SPDX-License-Identifier: Apache-2.0
"""Compiles the engine with its Cython hinge, and once more as a testing build for
lsmkv.fuzz (tests/harness/testing_extension.py). The rest is in pyproject.toml.

Environment switches, for developers:
  LSMKV_DEBUG=1                     no optimisation, costly assertions on
  LSMKV_SANITIZE=address,undefined  any list that -fsanitize= takes
"""

import copy
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

os.chdir(Path(__file__).parent)
debug = bool(os.environ.get("LSMKV_DEBUG"))
sanitize = os.environ.get("LSMKV_SANITIZE")

compile_args = ["-std=c11", "-fvisibility=hidden", "-pthread"]
compile_args.append("-O0" if debug else "-O3")
compile_args += ["-g", "-fno-omit-frame-pointer"] if debug or sanitize else ["-g0"]
instrument = [f"-fsanitize={sanitize}"] if sanitize else []
macros: list[tuple[str, str | None]] = [("_GNU_SOURCE", "1")]
macros += [("LSMKV_DEBUG", None)] if debug else []

engine = sorted(
    str(path) for path in Path("csrc").rglob("*.c") if path.name != "testing.c"
)
common = {
    "include_dirs": ["csrc"],
    "depends": sorted(str(path) for path in Path("csrc").rglob("*.h")),
    "define_macros": macros,
    "extra_compile_args": compile_args + instrument,
    "extra_link_args": ["-pthread", *instrument],
}


class BuildApart(build_ext):
    """Both extensions compile the same files, at the same time, but differently."""

    def build_extension(self, ext: Extension) -> None:
        """Keep the objects of each in a folder of its own."""
        apart = copy.copy(self)
        apart.build_temp = str(Path(self.build_temp) / ext.name)
        super(BuildApart, apart).build_extension(ext)


# Several modules, each translated by itself, in one file with the engine: it must exist
# once in a process. lsmkv/_native.py loads them.
modules = cythonize(
    [
        Extension(f"lsmkv.{path.stem}", [str(path)])
        for path in Path("lsmkv").glob("*.pyx")
    ],
    build_dir="build",
    compiler_directives={
        "language_level": 3,
        "embedsignature": True,
        "freethreading_compatible": True,
    },
)
sources = sorted(module.sources[0] for module in modules)

setup(
    ext_modules=[Extension("lsmkv._core", [*sources, *engine], **common)],
    cmdclass={"build_ext": BuildApart},
    cffi_modules=["tests/harness/testing_extension.py:builder"],
    options={"build_ext": {"parallel": min(2, os.cpu_count() or 1)}},
)

"""Builds the one extension module, fastrbm._lib.core: thin Cython over the C sources in csrc/.

Everything else about the package stands in pyproject.toml. Environment, read while building:

FASTRBM_NO_OPENMP=1  build without threads, whatever the compiler offers
FASTRBM_WERROR=1     compile csrc/ with warnings as errors (what .ci/run does)

SIMD levels need no flag here: each kernel file opens its own target region.
"""

import functools
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CCompilerError

# Contraction and errno-free maths let the compiler use FMA and vector code; sums keep their order
# and NaN and inf their meaning, which -ffast-math would give up.
OPTIMISE = ["-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]

# (compile, link) arguments to try in turn: gcc and clang on Linux, Apple's clang with libomp.
OPENMP = [(["-fopenmp"], ["-fopenmp"]), (["-Xpreprocessor", "-fopenmp"], ["-lomp"])]
OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() > 0 ? 0 : 1; }\n"
PYTHON_PROBE = "#include <Python.h>\nint main(void) { return 0; }\n"


def core_extension():
    """The extension, with every C source of csrc/ that exists when the build starts."""
    kernels = [str(path) for path in sorted(Path("csrc/fastrbm").glob("*/*.c"))]
    headers = [
        str(path)
        for folder, pattern in [("csrc", "*.h"), ("csrc", "*.inc"), ("fastrbm", "*.px[di]")]
        for path in sorted(Path(folder).rglob(pattern))
    ]
    extension = Extension(
        "fastrbm._lib.core",
        sources=["fastrbm/_lib/core.pyx", *kernels],
        depends=headers,
        include_dirs=["csrc"],
        extra_compile_args=OPTIMISE,
        libraries=["m"],
    )
    extension.cython_directives = {
        "language_level": 3,
        "boundscheck": False,
        "wraparound": False,
        "initializedcheck": False,
        "cdivision": True,
        "embedsignature": True,
    }
    return extension


class BuildExt(build_ext):
    """build_ext that probes the compiler first and compiles the sources side by side."""

    def build_extensions(self):
        if shutil.which(self.compiler.compiler[0]) is None:
            raise SystemExit(
                f"fastrbm is compiled and found no C compiler ({self.compiler.compiler[0]}): "
                "install gcc (Debian and Ubuntu: apt install gcc python3-dev) and try again"
            )
        if not self._builds(PYTHON_PROBE, [], []):
            raise SystemExit(
                "fastrbm is compiled and the C compiler found no Python.h: install Python's "
                "headers (Debian and Ubuntu: apt install python3-dev) and try again"
            )
        compile_flags, link_flags = self._openmp_flags()
        for extension in self.extensions:
            extension.extra_compile_args += compile_flags
            extension.extra_link_args += link_flags
        self.compiler.compile = functools.partial(_compile_side_by_side, self.compiler.compile)
        super().build_extensions()

    def _openmp_flags(self):
        if os.environ.get("FASTRBM_NO_OPENMP") != "1":
            for flags in OPENMP:
                if self._builds(OPENMP_PROBE, *flags):
                    return flags
            self.warn("the compiler has no OpenMP: building fastrbm without threads")
        return [], []

    def _builds(self, source, compile_flags, link_flags):
        """Whether this program compiles and links."""
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "probe.c"
            program.write_text(source)
            try:
                objects = self.compiler.compile(
                    [str(program)],
                    output_dir=folder,
                    include_dirs=self.include_dirs,
                    extra_postargs=compile_flags,
                )
                self.compiler.link_executable(
                    objects, str(Path(folder) / "probe"), extra_postargs=link_flags
                )
            except CCompilerError:
                return False
        return True


def _compile_side_by_side(compile_sources, sources, *args, extra_postargs=None, **kwargs):
    """The compiler's compile(), one source a thread; warnings are errors in csrc/ where asked."""

    def compile_one(source):
        flags = list(extra_postargs or [])
        if os.environ.get("FASTRBM_WERROR") == "1" and Path(source).parts[0] == "csrc":
            flags += WARNINGS
        return compile_sources([source], *args, extra_postargs=flags, **kwargs)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [compiled for objects in pool.map(compile_one, sources) for compiled in objects]


class BuildPy(build_py):
    """build_py that puts the public C header into the wheel, where get_include() finds it."""

    HEADER = "csrc/fastrbm.h"

    def run(self):
        super().run()
        if not self.editable_mode:
            target = self._header_target()
            self.mkpath(os.path.dirname(target))
            self.copy_file(self.HEADER, target)

    def get_outputs(self, include_bytecode=1):
        return super().get_outputs(include_bytecode) + [self._header_target()]

    def _header_target(self):
        return os.path.join(self.build_lib, "fastrbm", "include", "fastrbm.h")


if __name__ == "__main__":
    setup(
        ext_modules=[core_extension()],
        cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
    )

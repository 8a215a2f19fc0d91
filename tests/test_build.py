"""The build: versions agree, no warnings, the wheel has what users need, imports are quick."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastrbm
from fastrbm import _lib

CHECKOUT = Path(__file__).parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
HEADER = CHECKOUT / "csrc/fastrbm.h"
C_SOURCES = sorted((CHECKOUT / "csrc/fastrbm").glob("*/*.c"))
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]


def compiler(variable, default):
    """A compiler that must be there; what is missing is a failure, with what to install."""
    name = os.environ.get(variable, default)
    if shutil.which(name) is None:
        pytest.fail(f"fastrbm's tests need a C compiler and {name!r} is not there: install gcc")
    return name


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# ------------------------------------------------------------------------------------- versions


def test_versions_agree():
    version = PROJECT["project"]["version"]
    in_header = re.search(r'#define FRBM_VERSION "(.*)"', HEADER.read_text())[1]
    assert version == in_header == _lib.build_info()["version"]
    assert version == fastrbm.__version__ == importlib.metadata.version("fastrbm")


def test_changelog_knows_the_version():
    assert f"## [{PROJECT['project']['version']}]" in (CHECKOUT / "CHANGELOG.md").read_text()


def test_every_package_is_listed():
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    folders = {path.parent for path in (CHECKOUT / "fastrbm").rglob("__init__.py")}
    assert listed == {".".join(path.relative_to(CHECKOUT).parts) for path in folders}


def test_linters_are_pinned():
    assert all("==" in name for name in PROJECT["project"]["optional-dependencies"]["lint"])


# --------------------------------------------------------------------------------------- the C


@pytest.mark.parametrize("standard", ["c11", "c17"])
def test_header_stands_alone_in_c(standard, tmp_path):
    program = tmp_path / "program.c"
    program.write_text('#include "fastrbm.h"\n#include "fastrbm.h"\nint main(void) { return 0; }\n')
    run(compiler("CC", "cc"), f"-std={standard}", *STRICT, "-Wc++-compat", "-fsyntax-only",
        f"-I{HEADER.parent}", program)  # fmt: skip


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "c++")) is None, reason="no C++ compiler")
def test_header_compiles_as_cpp(tmp_path):
    """gcc alone, all that a newcomer needs, has no C++; the C test above has -Wc++-compat."""
    program = tmp_path / "program.cpp"
    program.write_text('#include "fastrbm.h"\nint main() { return frbm_version() == nullptr; }\n')
    run(os.environ.get("CXX", "c++"), "-std=c++11", *STRICT, "-fsyntax-only",
        f"-I{HEADER.parent}", program)  # fmt: skip


@pytest.mark.parametrize("path", C_SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_c_compiles_without_warnings(path):
    """As strict C11. Front end only here; .ci/run has the optimiser's warnings too."""
    run(compiler("CC", "cc"), "-std=c11", "-fopenmp", *STRICT, "-fsyntax-only",
        f"-I{HEADER.parent}", path)  # fmt: skip


def test_every_public_function_is_defined_once():
    """Each function that the header declares is defined in exactly one C file."""
    declared = set(re.findall(r"\b(frbm_\w+)\(", strip_comments(HEADER.read_text())))
    sources = [strip_comments(path.read_text()) for path in C_SOURCES]
    for name in declared:
        definitions = sum(
            len(re.findall(rf"^[a-z][^;{{}}#]*\b{name}\([^;{{}}]*\)\s*\{{", text, re.MULTILINE))
            for text in sources
        )
        assert definitions == 1, f"{name}: {definitions} definitions"


def strip_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


# -------------------------------------------------------------------------- what is installed


def test_show_config(capsys):
    fastrbm.show_config()
    shown = capsys.readouterr().out
    for name in ("version", "compiler", "openmp", "simd", "n_threads"):
        assert name in shown
    assert _lib.simd_level() in shown


def test_import_is_quick(python):
    """Under 0.3 s beyond numpy, the best of three; plotting, tqdm and SciPy wait until asked."""
    text = """if True:
        import sys, time, numpy
        began = time.perf_counter()
        import fastrbm
        print(time.perf_counter() - began)
        late = {"matplotlib", "tqdm", "scipy", "sklearn", "torch", "numba"} & set(sys.modules)
        assert not late, late
    """
    seconds = []
    for _ in range(3):
        done = python(text)
        assert done.returncode == 0, done.stderr
        seconds.append(float(done.stdout))
    assert min(seconds) < 0.3, seconds


def test_import_leaves_numpy_and_the_environment_alone(python):
    done = python("""if True:
        import os, numpy
        before = dict(os.environ), numpy.geterr(), numpy.random.get_state()[1].tolist()
        import fastrbm
        fastrbm.sample(fastrbm.RBM(fastrbm.Spin(3), fastrbm.Gaussian(2)), n_draws=1)
        assert before == (dict(os.environ), numpy.geterr(), numpy.random.get_state()[1].tolist())
    """)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The Python side of a wheel, which takes no compiler: what `build_py` lays out."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", folder]
    run(*command, cwd=CHECKOUT)
    return folder


def test_wheel_carries_what_embedding_needs(built):
    names = {str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()}
    package = CHECKOUT / "fastrbm"
    files = [*package.rglob("*.py"), *package.rglob("*.pxd"), *(package / "data").iterdir()]
    expected = {str(path.relative_to(CHECKOUT)) for path in files}
    assert names == expected | {"fastrbm/include/fastrbm.h", "fastrbm/py.typed"}
    assert (built / "fastrbm/include/fastrbm.h").read_bytes() == HEADER.read_bytes()


def test_metadata():
    metadata = importlib.metadata.metadata("fastrbm")
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"
    required = {r.split(">")[0] for r in metadata.get_all("Requires-Dist") if "extra" not in r}
    assert required == {"numpy", "scipy", "threadpoolctl"}
    assert set(metadata.get_all("Provides-Extra")) == {"test", "lint", "bench", "plot", "progress"}

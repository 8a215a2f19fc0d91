"""The import lines of docs/architecture.md hold for every import and every #include."""

import ast
import re
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
FREE = {"__init__", "__main__"}  # of the package itself: they may import everything

# Beyond the standard library: what the package may import, and who may import what is optional.
DEPENDENCIES = {"numpy", "scipy", "threadpoolctl"}
OPTIONAL = {"matplotlib": {"picture", "plot", "benchmarks"}, "tqdm": {"progress"}}

# All that flows import of the package.
OF_FLOWS = {"errors", "random", "validation", "files", "progress", "blas", "flows"}


def read_line(root):
    """The groups of one import line: name -> position, counted from the left."""
    text = (CHECKOUT / "docs/architecture.md").read_text()
    (line,) = re.findall(rf"^    {re.escape(root)}: (.+)$", text, re.MULTILINE)
    return {name: i for i, group in enumerate(line.split("|")) for name in group.split()}


PYTHON, C = read_line("fastrbm"), read_line("csrc/fastrbm")


def unit_of(path, root):
    """The name that stands for a file in its line: its top folder, or its own name."""
    first = path.relative_to(root).parts[0]
    return first.split(".")[0]


def sources(root, *suffixes):
    root = CHECKOUT / root
    return sorted(path for path in root.rglob("*") if path.suffix in suffixes)


def absolute(node, path):
    """The dotted names that an import statement of the file `path` asks for."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.level == 0:
        return [node.module]
    package = list(path.relative_to(CHECKOUT).with_suffix("").parts[: -node.level])
    base = ".".join([*package, *([node.module] if node.module else [])])
    if base == "fastrbm":  # `from . import files` names modules
        return [f"fastrbm.{alias.name}" for alias in node.names]
    return [base]


def python_imports(path):
    tree = ast.parse(path.read_text(), path.name)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from absolute(node, path)


def cython_imports(path):
    text = path.read_text()
    names = re.findall(r"^\s*from\s+([\w.]+)\s+c?import\b", text, re.MULTILINE)
    names += re.findall(r"^\s*c?import\s+([\w.]+)", text, re.MULTILINE)
    package = list(path.relative_to(CHECKOUT).parts[:-1])
    for name in names:
        stripped = name.lstrip(".")
        level = len(name) - len(stripped)
        yield ".".join([*package[: len(package) - level + 1], stripped]) if level else name


@pytest.mark.parametrize(
    "path", sources("fastrbm", ".py", ".pyx", ".pxd"), ids=lambda p: str(p.relative_to(CHECKOUT))
)
def test_imports(path):
    unit = unit_of(path, CHECKOUT / "fastrbm")
    if path.parent.name == "fastrbm" and unit in FREE:
        return
    assert unit in PYTHON, f"{unit} is in no group of the import line"
    for name in python_imports(path) if path.suffix == ".py" else cython_imports(path):
        top, _, rest = name.partition(".")
        if name == "fastrbm":
            assert unit == "cli", "only the command line uses the package as its users do"
        elif top == "fastrbm":
            target = rest.split(".")[0]
            assert target in PYTHON, f"imports {name}"
            assert PYTHON[target] <= PYTHON[unit], f"imports {name}, which stands to its right"
        elif top in OPTIONAL:
            assert unit in OPTIONAL[top], f"imports {top}"
        elif path.suffix == ".py" and top not in sys.stdlib_module_names:
            assert top in DEPENDENCIES, f"imports {name}"


@pytest.mark.parametrize("path", sources("fastrbm/flows", ".py"), ids=lambda p: p.name)
def test_flows_use_nothing_of_the_machines(path):
    for name in python_imports(path):
        top, _, rest = name.partition(".")
        assert top != "fastrbm" or rest.split(".")[0] in OF_FLOWS, f"imports {name}"


def test_machines_use_nothing_of_the_flows():
    """By their place in the line, which `test_imports` holds."""
    assert [name for name in PYTHON if PYTHON[name] == PYTHON["flows"]] == ["flows"]
    assert all(PYTHON[name] < PYTHON["flows"] for name in ("model", "training", "hopfield"))


def test_nothing_but_lib_reaches_csrc():
    for path in sources("fastrbm", ".py", ".pyx", ".pxd"):
        if re.search(r"cdef extern from|\bctypes\b|\bcffi\b", path.read_text()):
            assert unit_of(path, CHECKOUT / "fastrbm") in {"_lib", "capi"}, path


@pytest.mark.parametrize(
    "path", sources("csrc", ".c", ".h", ".inc"), ids=lambda p: str(p.relative_to(CHECKOUT))
)
def test_includes(path):
    includes = re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)
    if path.name == "fastrbm.h":
        assert not includes, "the public header stands alone"
        return
    unit = unit_of(path, CHECKOUT / "csrc/fastrbm")
    for name in includes:
        if name == "fastrbm.h":
            continue
        target = name.split("/")[1] if name.startswith("fastrbm/") else unit
        assert "/" not in name or name.startswith("fastrbm/"), f"includes {name}"
        assert C[target] <= C[unit], f"includes {name}, which stands to its right"


def test_c_knows_no_python():
    for path in sources("csrc", ".c", ".h", ".inc"):
        forbidden = re.findall(
            r"Python\.h|\b(?:malloc|calloc|realloc|abort|exit|printf|fprintf|getenv|srand|rand)\s*\(",
            path.read_text(),
        )
        assert not forbidden, f"{path}: {forbidden}"


def test_every_group_exists():
    assert set(C) == {path.name for path in (CHECKOUT / "csrc/fastrbm").iterdir() if path.is_dir()}
    for name in PYTHON:
        assert list((CHECKOUT / "fastrbm").glob(f"{name}*")), f"{name} is in the line, not on disk"

"""What the documentation shows is run: README, docs/ and every docstring of the package."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fastrbm
from fastrbm._lib import core

CHECKOUT = Path(__file__).parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((CHECKOUT / "docs").glob("*.md")))]

DOCTEST = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# The first screen of the README: what a newcomer copies.
COMMANDS = [
    "python -m pip install -e . && python -m fastrbm demo",
    "python -m pip install -e '.[test]' && python -m pytest",
]


def blocks(page, language):
    text = (CHECKOUT / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """The blocks of a page run in order, as one program, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), namespace)


def test_readme_shows_the_two_commands_first():
    first_screen = (CHECKOUT / "README.md").read_text().splitlines()[:30]
    shown = [line.strip() for line in first_screen if "python -m" in line]
    assert [line for line in shown if "venv" not in line] == COMMANDS


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (CHECKOUT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith("http"):
            assert (CHECKOUT / page).parent.joinpath(target).exists(), target


def modules():
    names = (module.name for module in pkgutil.walk_packages(fastrbm.__path__, "fastrbm."))
    return ["fastrbm", *(name for name in sorted(names) if not name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if {"picture", "plot"} & set(name.split(".")):
        pytest.importorskip("matplotlib")
    failures, _ = doctest.testmod(importlib.import_module(name), optionflags=DOCTEST)
    assert failures == 0


def test_purposes_on_the_page_are_those_of_the_code():
    text = (CHECKOUT / "docs/random_numbers.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", text, re.MULTILINE)
    assert {name: int(number) for number, name in rows} == core.purposes()

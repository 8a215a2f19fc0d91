"""Put the tables and the picture of the run that is kept in docs/ into the README.

    fastrbm bench complexity --output docs && python bench/readme_table.py

docs/complexity.json is that run; docs/complexity.md and .png are made from it anew.
"""

import json
import re
from pathlib import Path

from fastrbm.benchmarks import complexity, report

CHECKOUT = Path(__file__).parents[1]
BEGIN, END = "<!-- complexity: written by bench/readme_table.py -->", "<!-- end of complexity -->"


def main():
    docs = CHECKOUT / "docs"
    result = json.loads((docs / "complexity.json").read_text())
    complexity.write(result, complexity.outputs(docs))
    readme = CHECKOUT / "README.md"
    shown = f"{report.tables(result)}\n\n![Seconds against N](docs/complexity.png)"
    text, n_found = re.subn(
        f"{re.escape(BEGIN)}.*{re.escape(END)}",
        lambda match: f"{BEGIN}\n\n{shown}\n\n{END}",
        readme.read_text(),
        flags=re.DOTALL,
    )
    if n_found != 1:
        raise SystemExit(f"{readme} has no place for the tables: {BEGIN} ... {END}")
    readme.write_text(text)


if __name__ == "__main__":
    main()

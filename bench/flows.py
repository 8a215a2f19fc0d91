"""Normalizing flows: how exact, how well they learn, how fast. Every figure of docs/flows.md.

    python bench/flows.py                        # everything, about half an hour on two cores
    python bench/flows.py exact learning         # some of them
    python bench/flows.py step --rounds 3 --output RUN.json

`exact`     round trips, log-determinants and integrals with parameters of order one, every family
`learning`  mean of log p_true - log p_flow on 1e5 fresh points, after training on fresh draws
`energies`  reverse KL to the energies U1 to U4 of Rezende and Mohamed, from 1e5 draws
`inverse`   MAF sampling over the inverse by one whole pass for each entry
`step`      a training step over the same model in torch, eager (needs torch)
"""

import argparse
import json
import sys

from compare import machine_state
from flow_rows import energies, exact, inverse, learning, step

import fastrbm

ROWS = {
    "exact": exact.rows,
    "learning": learning.rows,
    "energies": energies.rows,
    "inverse": inverse.rows,
    "step": step.rows,
}


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROWS", help="all by default")
    parser.add_argument("--rounds", type=int, default=5, help="of what is timed")
    parser.add_argument("--only", default="", help="a part of a row's name")
    parser.add_argument("--output", metavar="JSON", help="keep the figures with the machine's")
    options = parser.parse_args(argv)
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser.error(f"rows must be of {', '.join(ROWS)}, got {', '.join(sorted(unknown))}")
    n_threads = fastrbm.show_config(mode="dicts")["n_threads"]
    kept = []
    for name in options.rows or ROWS:
        print(f"\n{name}", flush=True)
        for row in ROWS[name](options):
            text = "  ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "row")
            print(f"  {row['row']:<44} {text}", flush=True)
            kept.append({"group": name, **row})
    if options.output:
        with open(options.output, "w") as file:
            json.dump({"machine": machine_state.describe(n_threads), "rows": kept}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())

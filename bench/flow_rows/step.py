"""A training step of this package over one of the same model in torch, eager.

Both sides train depth 8, width 64 (two hidden layers, relu), batch 512, in double precision, with
Adam, on two threads, from the same rows; a step is an epoch's time over its updates, shuffling
included. Each side runs in a process of its own, in turn: thread pools of two BLAS libraries in one
process wait for each other.
"""

import pathlib
import statistics
import subprocess
import sys

N_UPDATES = 40
CONFIGURATIONS = [(family, dim) for family in ("real_nvp", "maf") for dim in (2, 64)]


def rows(options):
    for family, dim in CONFIGURATIONS:
        name = f"training step, {family}, D = {dim}"
        if options.only not in name:
            continue
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(seconds("ours", family, dim))
            theirs.append(seconds("torch", family, dim))
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        yield {
            "row": name,
            "ratio": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
            "milliseconds": 1e3 * statistics.median(ours),
            "torch_milliseconds": 1e3 * statistics.median(theirs),
        }


def seconds(side, family, dim):
    program = pathlib.Path(__file__).with_name("one_step.py")
    command = [sys.executable, str(program), side, family, str(dim), str(N_UPDATES)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{' '.join(command[1:])} failed:\n{run.stderr}")
    return float(run.stdout)

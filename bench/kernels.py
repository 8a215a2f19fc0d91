"""The two ways of making products of bits, and how well the choice between them is made.

    python bench/kernels.py                      # 784 x 512, by rows and density
    python bench/kernels.py --sizes 784x64 --level v3

For each number of rows and density of bits: GFLOP/s (2 N p flops a row, as if dense) by tables, by
adding the selected rows, and as chosen; then the time of the choice over that of the faster one.
The constants of the choice (frbm_product_costs_t of the levels in csrc/fastrbm/kernels) are
fitted to this table. One thread; a call is `Rbm.mean` of the core, packing and sigmoids included.
"""

import argparse
import statistics
import time

import numpy as np

import fastrbm
from fastrbm import _lib

ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
DENSITIES = (0.02, 0.05, 0.13, 0.25, 0.5)
PATHS = ("tables", "rows", "auto")


def seconds(call, target):
    """Return the least time of a call in five pieces of about `target` / 5 seconds."""
    call()
    n, taken = 1, 0.0
    while taken < target / 10:
        began = time.perf_counter()
        for _ in range(n):
            call()
        taken = time.perf_counter() - began
        n *= 2
    pieces = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(n // 2):
            call()
        pieces.append((time.perf_counter() - began) / (n // 2))
    return min(pieces)


def line(n_visible, n_hidden, n_rows, density, target):
    """Return {path: seconds} of the means of the hidden units given `n_rows` rows of bits."""
    rng = np.random.default_rng(0)
    states = (rng.random((n_rows, n_visible)) < density).astype(np.int8)
    weights = rng.normal(0, 0.05, (n_visible, n_hidden)).astype(np.float32)
    layers = fastrbm.Bernoulli(n_visible), fastrbm.Bernoulli(n_hidden)
    rbm = fastrbm.RBM(*layers, weights=weights)
    out = np.empty((n_rows, n_hidden), np.float32)
    times = {}
    for path in PATHS:
        executor = _lib.executor(1, path)
        times[path] = seconds(
            lambda e=executor: rbm._core.mean(e, "hidden", states, 1.0, out), target
        )
    return times


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="784x512")
    parser.add_argument("--level", default=_lib.simd_level(), choices=_lib.simd_levels())
    parser.add_argument("--seconds", type=float, default=0.1, help="for each entry")
    arguments = parser.parse_args()
    n_visible, n_hidden = map(int, arguments.sizes.split("x"))
    regrets = []
    with _lib.use_simd(arguments.level):
        print(f"{n_visible} x {n_hidden}, level {arguments.level}, one thread, GFLOP/s")
        print(f"{'rows':>5} {'density':>8} " + " ".join(f"{path:>7}" for path in PATHS)
              + "  auto over best")  # fmt: skip
        for n_rows in ROWS:
            for density in DENSITIES:
                times = line(n_visible, n_hidden, n_rows, density, arguments.seconds)
                flops = 2e-9 * n_visible * n_hidden * n_rows
                regret = times["auto"] / min(times["tables"], times["rows"])
                regrets.append(regret)
                rates = " ".join(f"{flops / times[path]:7.1f}" for path in PATHS)
                print(f"{n_rows:5d} {density:8.2f} {rates}  {regret:.2f}", flush=True)
    print(f"auto over best: median {statistics.median(regrets):.2f}, most {max(regrets):.2f}")


if __name__ == "__main__":
    main()

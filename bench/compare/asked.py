"""The figures that are asked of fastrbm, beside those that a run measured."""

#: Updates a second are asked for a machine with this sgemm, and scale with it.
SGEMM = 280.0

NOT_PLAIN_NUMBA = ("torch", "scikit-learn", "NumPy", "rbms")


def over_fastest(name, among=None):
    """Reads the ratio to the fastest peer of a row: (value, "text", counts)."""

    def read(rows):
        row = rows.get(name)
        ratios = {
            peer: ratio
            for peer, ratio in (row["ratios"].items() if row else ())
            if among is None or peer in among
        }
        if not ratios:
            return None
        peer, ratio = min(ratios.items(), key=lambda item: item[1]["median"])
        text = f"{ratio['median']:.2f} x ({ratio['low']:.2f} to {ratio['high']:.2f}), {peer}"
        return ratio["median"], text, ratio["why"]

    read.rows = (name,)
    return read


def updates(name):
    """Reads unit updates a second, brought to SGEMM."""

    def read(rows):
        row = rows.get(name)
        if row is None:
            return None
        measured = row["sides"]["fastrbm"]["unit_updates_per_second"]
        value = measured * SGEMM / row["sgemm_gflops"]
        text = f"{value:.3g} (measured {measured:.3g} at {row['sgemm_gflops']:.0f} GFLOP/s)"
        return value, text, ""

    read.rows = (name,)
    return read


def inside(name, key):
    """Reads a ratio of fastrbm to itself or to sgemm."""

    def read(rows):
        ratio = rows.get(name, {}).get("ratios", {}).get(key)
        if ratio is None:
            return None
        text = f"{ratio['median']:.2f} x ({ratio['low']:.2f} to {ratio['high']:.2f})"
        return ratio["median"], text, ""

    read.rows = (name,)
    return read


# (what, needed, aim, how to read it); a needed figure below 0 is a limit from above.
FIGURES = [
    ("CD-1, 784 x 500, batch 100, MNIST: over the fastest peer", 3, 5,
     over_fastest("cd1/784x500/b100/bb/mnist")),
    ("the same, batch 10", 3, 6, over_fastest("cd1/784x500/b10/bb/mnist")),
    ("CD-1, 784 x 64, batch 10, MNIST", 8, 15, over_fastest("cd1/784x64/b10/bb/mnist")),
    ("CD-1, 784 x 64, batch 100, MNIST", 8, 15, over_fastest("cd1/784x64/b100/bb/mnist")),
    ("CD-1, 784 x 64, batch 10, density 0.5", 6, 10, over_fastest("cd1/784x64/b10/bb/half")),
    ("CD-1, 784 x 64, batch 100, density 0.5", 6, 10, over_fastest("cd1/784x64/b100/bb/half")),
    ("CD-1, 784 x 10 Spin-Gaussian, batch 10, MNIST", 8, 20,
     over_fastest("cd1/784x10/b10/sg/mnist")),
    ("CD-1, 784 x 10 Spin-Gaussian, batch 100, MNIST", 8, 20,
     over_fastest("cd1/784x10/b100/sg/mnist")),
    ("CD-1, 784 x 10 Spin-Gaussian, batch 10, density 0.5", 8, 20,
     over_fastest("cd1/784x10/b10/sg/half")),
    ("CD-1, 784 x 10 Spin-Gaussian, batch 100, density 0.5", 8, 20,
     over_fastest("cd1/784x10/b100/sg/half")),
    ("CD-1, 20 x 10, batch 10: over torch, scikit-learn, NumPy, rbms", 30, 80,
     over_fastest("cd1/20x10/b10/bb/half", NOT_PLAIN_NUMBA)),
    ("the same over plain numba", 8, 15, over_fastest("cd1/20x10/b10/bb/half", ("numba, plain",))),
    ("Gibbs 784 x 500, 1,000 chains, density 0.5: unit updates/s", 2.5e8, 3.5e8,
     updates("gibbs/784x500/c1000/bb/half")),
    ("the same, trained on MNIST", 3e8, 5e8, updates("gibbs/784x500/c1000/bb/mnist")),
    ("Gibbs 64 x 32, 1,000 chains: unit updates/s", 1e9, 1.8e9,
     updates("gibbs/64x32/c1000/bb/half")),
    ("v -> h of bits at density 0.5, 784 x 500, 500 states: over sgemm", 1.4, 2,
     inside("product/half", "means over sgemm")),
    ("2 threads over 1, epoch of 784 x 500, batch 100", 1.75, 1.95,
     inside("threads/epoch", "2 over 1")),
    ("v3 over v4, epoch of 784 x 500, batch 100: at most", -2.2, None,
     inside("simd/epoch", "v3 over v4")),
]  # fmt: skip

#: The rows that these figures are read from.
ROWS = list(dict.fromkeys(name for *_, read in FIGURES for name in read.rows))


def figures(rows):
    """Yield (what, needed, aim, measured, holds, why it does not count) for rows that were run.

    Parameters
    ----------
    rows : dict
        Name -> row.
    """
    for what, needed, aim, read in FIGURES:
        found = read(rows)
        if found is None:
            continue
        value, text, why = found
        holds = value <= -needed if needed < 0 else value >= needed
        limit = f"<= {-needed:g}" if needed < 0 else f">= {needed:g}"
        yield what, limit, "" if aim is None else f">= {aim:g}", text, holds, why

"""fastrbm beside its peers: what `bench/peers.py` runs.

    task        what is measured: a method, sizes, a pair of layers, data; names and arithmetic
    data        the rows of a task: MNIST, or bits of a density
    ours        fastrbm's side: whole calls
    by_numpy, by_torch, by_numba, by_sklearn, by_rbms    the peers
    contest     who plays in which task
    rounds      interleaved timing, ratios and their spread
    ceiling     the machine's own sgemm
    calibration the peers against programs of known speed, the prototypes
    quality     do the two sides learn equally well?
    inside      figures of fastrbm alone: threads, SIMD levels, products of bits
    asked       the figures asked, beside those measured
    results     one run as JSON, and as text; README's table

A peer's module has `Trainer(task, data, seed)` with `epoch(n_rows)` and `model()`, `Sampler(rbm,
n_chains, seed)` with `sweeps(n)` and `visible()`, and `threads(n)`, a context in which they use n
threads. It imports its library at its head, so a library that is missing is a module that cannot be
imported (`contest.Peer.load`).
"""

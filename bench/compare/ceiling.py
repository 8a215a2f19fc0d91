"""The machine's own sgemm: what every rate is a share of."""

import statistics
import time

import numpy as np
import threadpoolctl

#: Large enough for the best rate, small enough for a tenth of a second.
SIZE = 2048


def sgemm(n_threads, repeats=5):
    """Return GFLOP/s of NumPy's float32 product of SIZE x SIZE matrices: the median."""
    a = np.random.default_rng(0).random((SIZE, SIZE), dtype=np.float32)
    out = np.empty_like(a)
    seconds = []
    with threadpoolctl.threadpool_limits(n_threads, "blas"):
        np.dot(a, a, out=out)
        for _ in range(repeats):
            began = time.perf_counter()
            np.dot(a, a, out=out)
            seconds.append(time.perf_counter() - began)
    return 2e-9 * SIZE**3 / statistics.median(seconds)

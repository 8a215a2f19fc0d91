"""The rows that a task trains on and is tested on: MNIST, or independent bits of a density."""

import mnist
import numpy as np

from .task import DENSITIES, EPOCH_ROWS

TEST_ROWS = 10_000


class Data:
    """Training and test rows as both sides want them, made once and kept.

    Parameters
    ----------
    grey : (ndarray, ndarray) or None
        MNIST's training and test grey levels.
    n_rows : int
        Rows of the training sets; fewer for a trial.
    """

    def __init__(self, grey=None, n_rows=EPOCH_ROWS):
        self.grey, self.n_rows = grey, n_rows
        self._kept = {}

    def source(self, task):
        """What the rows of a task are, in words."""
        if self._is_mnist(task):
            return "MNIST, on from grey level 128"
        return f"independent bits of density {DENSITIES[task.density]}"

    def _is_mnist(self, task):
        return task.density == "mnist" and task.n_visible == 784 and self.grey is not None

    def train(self, task, dtype=np.int8):
        """Return rows (n_rows, n_visible): 0 and 1, or -1 and +1 for a visible Spin layer."""
        return self._rows(task, 0, dtype)

    def test(self, task):
        """Return 10,000 rows that training never sees."""
        return self._rows(task, 1, np.int8)

    def _rows(self, task, part, dtype):
        spin = task.layers[0] == "spin"
        key = (task.density, task.n_visible, spin, part, np.dtype(dtype))
        if key not in self._kept:
            # One data set at a time in memory: a float32 one of 60,000 x 784 is 188 MB.
            self._kept = {k: v for k, v in self._kept.items() if k[:3] == key[:3]}
            bits = self._bits(task, part)
            self._kept[key] = (2 * bits - 1 if spin else bits).astype(dtype)
        return self._kept[key]

    def _bits(self, task, part):
        n_rows = (self.n_rows, TEST_ROWS)[part]
        if self._is_mnist(task):
            return mnist.binary(self.grey[part][:n_rows])
        rng = np.random.default_rng([part, task.n_visible])
        uniforms = rng.random((n_rows, task.n_visible), dtype=np.float32)
        return (uniforms < DENSITIES[task.density]).astype(np.int8)

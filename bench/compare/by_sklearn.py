"""scikit-learn's BernoulliRBM as it is: PCD-1, no momentum, no decay.

float32 data keep it in float32, its fast case. An epoch is a call of `fit`, which starts anew.
"""

import numpy as np
import threadpoolctl
from sklearn.neural_network import BernoulliRBM

from .start import as_rbm


def threads(n):
    """So many BLAS threads."""
    return threadpoolctl.threadpool_limits(n, "blas")


class Trainer:
    """PCD-1 of a Bernoulli-Bernoulli RBM."""

    def __init__(self, task, data, seed=0):
        self.task, self.data, self.seed = task, data, seed
        self.fitted = None

    def epoch(self, n_rows=None):
        """Train for one epoch on the first `n_rows` rows."""
        self.epochs(1, n_rows)

    def epochs(self, n_epochs, n_rows=None):
        """Train for some epochs."""
        self.fitted = BernoulliRBM(
            n_components=self.task.n_hidden, learning_rate=self.task.learning_rate,
            batch_size=self.task.size, n_iter=n_epochs, random_state=self.seed,
        )  # fmt: skip
        self.fitted.fit(self.data[:n_rows])

    def model(self):
        """Return the parameters as a fastrbm.RBM."""
        fitted = self.fitted
        return as_rbm(
            self.task, fitted.components_.T, fitted.intercept_visible_, fitted.intercept_hidden_
        )


class Sampler:
    """Block Gibbs chains by `BernoulliRBM.gibbs`."""

    def __init__(self, rbm, n_chains, seed=0):
        self.fitted = BernoulliRBM(
            n_components=rbm.n_hidden, batch_size=n_chains, n_iter=0, random_state=seed
        )
        self.v = rbm.sample_visible([[0] * rbm.n_hidden] * n_chains, rng=seed)
        self.fitted.fit(self.v)
        self.fitted.components_ = rbm.weights.T.copy(order="F")
        self.fitted.intercept_visible_ = rbm.visible.bias.copy()
        self.fitted.intercept_hidden_ = rbm.hidden.bias.copy()

    def sweeps(self, n):
        """Make n sweeps of all chains."""
        for _ in range(n):
            self.v = self.fitted.gibbs(self.v)

    def visible(self):
        """Return the visible states (n_chains, n_visible)."""
        return self.v


def train_from(data, start, n_epochs, batch_size, learning_rate, seed):
    """Train from the parameters of `start`, a fastrbm.RBM, with rows shuffled anew every epoch.

    Returns weights (n_visible, n_hidden), visible bias and hidden bias.
    """
    peer = BernoulliRBM(
        n_components=start.n_hidden,
        learning_rate=learning_rate,
        batch_size=batch_size,
        random_state=seed,
    )
    # What fit would set at its start, so that partial_fit goes on from it.
    peer.components_ = np.array(start.weights.T, np.float64, order="F")
    peer.intercept_visible_ = start.visible.bias.astype(np.float64)
    peer.intercept_hidden_ = start.hidden.bias.astype(np.float64)
    peer.h_samples_ = np.zeros((batch_size, start.n_hidden))
    shuffle = np.random.default_rng(seed)
    data = data.astype(np.float64)
    for _ in range(n_epochs):
        order = shuffle.permutation(len(data))
        for first in range(0, len(data), batch_size):
            peer.partial_fit(data[order[first : first + batch_size]])
    return peer.components_.T, peer.intercept_visible_, peer.intercept_hidden_

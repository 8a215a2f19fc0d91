"""fastrbm's side: whole public calls, with the metrics that they make by default."""

import numpy as np

import fastrbm

#: Standard deviation of the weights of models that are sampled without having been trained.
SAMPLED_WEIGHT_SCALE = 0.05


class Trainer:
    """`train_cd` as a user calls it; every epoch is a call, which starts anew."""

    def __init__(self, task, data, seed=0, n_threads=None):
        visible, hidden = task.layers
        self.data, self.seed = data, seed
        self.options = {
            "n_hidden": task.n_hidden, "visible": visible, "hidden": hidden, "k": task.k,
            "persistent": task.persistent, "batch_size": task.size,
            "learning_rate": task.learning_rate, "momentum": task.momentum,
            "weight_decay": task.weight_decay, "n_threads": n_threads,
        }  # fmt: skip
        self.result = None

    def epoch(self, n_rows=None):
        """Train for one epoch on the first `n_rows` rows."""
        self.epochs(1, n_rows)

    def epochs(self, n_epochs, n_rows=None):
        """Train for some epochs."""
        rows = self.data[:n_rows]
        self.result = fastrbm.train_cd(rows, n_epochs=n_epochs, rng=self.seed, **self.options)

    def model(self):
        """Return the model trained last."""
        return self.result.model


class Sampler:
    """`sample` as a user calls it."""

    def __init__(self, rbm, n_chains, seed=0, n_threads=None):
        self.rbm, self.n_threads = rbm, n_threads
        self.result = fastrbm.sample(
            rbm, n_chains=n_chains, n_draws=0, burn_in=1, rng=seed, n_threads=n_threads
        )

    def sweeps(self, n):
        """Make n sweeps of all chains, from where they are."""
        self.result = fastrbm.sample(
            self.rbm, init=self.result, n_draws=0, burn_in=n, n_threads=self.n_threads
        )

    def visible(self):
        """Return the visible states (n_chains, n_visible)."""
        return self.result.chains


def sampled_model(task, data, n_threads=None):
    """Return the model that "gibbs" samples: trained on the rows, or random of density 1/2."""
    if task.density == "mnist":
        visible, hidden = task.layers
        return fastrbm.train_cd(
            data, n_hidden=task.n_hidden, visible=visible, hidden=hidden, n_epochs=5, metrics=(),
            rng=0, n_threads=n_threads,
        ).model  # fmt: skip
    visible, hidden = (
        {"bernoulli": fastrbm.Bernoulli, "spin": fastrbm.Spin, "gaussian": fastrbm.Gaussian}[name]
        for name in task.layers
    )
    rng = np.random.default_rng(0)
    weights = rng.normal(0, SAMPLED_WEIGHT_SCALE, (task.n_visible, task.n_hidden))
    if task.pair == "bb":  # no field on either side: every unit is on half of the time
        bias = -weights.sum(axis=1) / 2, -weights.sum(axis=0) / 2
        layers = visible(task.n_visible, bias=bias[0]), hidden(task.n_hidden, bias=bias[1])
    else:
        layers = visible(task.n_visible), hidden(task.n_hidden)
    return fastrbm.RBM(*layers, weights=weights, dtype="float32")

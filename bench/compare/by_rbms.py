"""The package `rbms` as it is: CD-k and PCD-k by its own functions, with torch's SGD.

What its `train` does at every update, without the file that it writes there; rows are taken in the
order given. It centres gradients and divides them by their norm; it has no momentum and no decay.
"""

import types

import torch
from rbms.bernoulli_bernoulli.classes import BBRBM
from rbms.training.pcd import fit_batch_pcd

from .by_torch import threads
from .start import as_rbm

__all__ = ["Sampler", "Trainer", "threads"]


class Trainer:
    """CD-k and PCD-k of a Bernoulli-Bernoulli RBM."""

    @torch.no_grad()
    def __init__(self, task, data, seed=0):
        torch.manual_seed(seed)
        self.task, self.data = task, torch.from_numpy(data)
        self.parameters = BBRBM.init_parameters(
            task.n_hidden, types.SimpleNamespace(data=self.data), torch.device("cpu"), torch.float32
        )
        self.parameters.init_grad()
        self.optimizer = torch.optim.SGD(
            self.parameters.parameters(), lr=task.learning_rate, maximize=True
        )
        self.weights = torch.ones(task.size, 1)
        self.chains = self.parameters.init_chains(task.size)

    @torch.no_grad()
    def epoch(self, n_rows=None):
        """One pass over the first `n_rows` rows."""
        for rows in self.data[:n_rows].split(self.task.size):
            weights = self.weights[: len(rows)]
            if not self.task.persistent:
                self.chains = self.parameters.init_chains(len(rows), start_v=rows, weights=weights)
            self.optimizer.zero_grad(set_to_none=False)
            self.chains, _ = fit_batch_pcd(
                (rows, weights), self.chains, self.parameters, self.task.k, 1.0
            )
            self.optimizer.step()

    def model(self):
        """Return the parameters as a fastrbm.RBM."""
        own = self.parameters
        arrays = (p.detach() for p in (own.weight_matrix, own.vbias, own.hbias))
        return as_rbm(self.task, *arrays)


class Sampler:
    """Block Gibbs chains by `sample_state`."""

    @torch.no_grad()
    def __init__(self, rbm, n_chains, seed=0):
        torch.manual_seed(seed)
        arrays = rbm.weights, rbm.visible.bias, rbm.hidden.bias
        self.parameters = BBRBM(*map(torch.from_numpy, arrays))
        self.chains = self.parameters.init_chains(n_chains)

    @torch.no_grad()
    def sweeps(self, n):
        """Make n sweeps of all chains."""
        self.chains = self.parameters.sample_state(self.chains, n)

    def visible(self):
        """Return the visible states (n_chains, n_visible)."""
        return self.chains["visible"].numpy()

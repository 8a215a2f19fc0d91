"""RBMs by hand in torch, on the CPU: float32, in place, preallocated, no autograd.

Bits are drawn by comparing with uniforms, several times faster than torch.bernoulli. Data and chain
lie in one array, hidden means in another with the chain's negated, so that a gradient with its
momentum is one product over 2 B rows. Rows are taken in the order given, which spares the shuffling
that fastrbm does.
"""

import contextlib

import torch

from .start import as_rbm, start

#: Chains are run in blocks of this many: their arrays stay in cache.
BLOCK = 512


@contextlib.contextmanager
def threads(n):
    """So many of torch's threads."""
    torch.set_num_threads(n)
    yield


class Conditional:
    """Mean and draw of one layer given its input."""

    def __init__(self, unit, bias):
        self.unit, self.bias = unit, bias
        self.scale = 2 if unit == "spin" else 1

    def mean(self, states, weights, out):
        """E[unit | states]; for Spin the probability of +1, which is all that a draw needs."""
        torch.addmm(self.bias, states, weights, beta=self.scale, alpha=self.scale, out=out)
        return out if self.unit == "gaussian" else out.sigmoid_()

    def draw(self, mean, noise, out):
        """A state of each unit, given its mean; `out` may be `mean`."""
        if self.unit == "gaussian":
            return torch.add(mean, noise.normal_(), out=out)
        torch.lt(noise.uniform_(), mean, out=out)
        return out.mul_(2).sub_(1) if self.unit == "spin" else out


class Trainer:
    """CD-k and PCD-k with momentum and weight decay."""

    @torch.no_grad()
    def __init__(self, task, data, seed=0):
        torch.manual_seed(seed)
        self.task, self.data = task, torch.from_numpy(data)
        self.weights, visible_bias, hidden_bias = map(torch.from_numpy, start(task, data, seed))
        self.visible = Conditional(task.layers[0], visible_bias)
        self.hidden = Conditional(task.layers[1], hidden_bias)
        self.velocities = [torch.zeros_like(p) for p in (self.weights, visible_bias, hidden_bias)]
        size = task.size
        self.v, self.v_noise = (
            torch.zeros(2 * size, task.n_visible),
            torch.empty(size, task.n_visible),
        )
        self.h, self.h_noise = (
            torch.zeros(2 * size, task.n_hidden),
            torch.empty(size, task.n_hidden),
        )
        self.drawn = torch.empty(size, task.n_hidden)
        self.signs = torch.ones(2 * size)
        self.signs[size:] = -1
        self.ones = torch.ones(2 * size)
        if task.persistent:
            self._draw_chains(self.data[:size])

    def _draw_chains(self, v):
        mean = self.h_noise.clone()
        self.hidden.mean(v, self.weights, mean)
        self.hidden.draw(mean, self.h_noise, self.drawn)

    @torch.no_grad()
    def epoch(self, n_rows=None):
        """One pass over the first `n_rows` rows."""
        for rows in self.data[:n_rows].split(self.task.size):
            self.update(rows)

    def update(self, rows):
        """One mini-batch."""
        task, weights = self.task, self.weights
        n = len(rows)
        # A short last batch has as many chains in CD, and all of them in PCD.
        n_chains = task.size if task.persistent else n
        v, h = self.v[: n + n_chains], self.h[: n + n_chains]
        chain_v, chain_h = v[n:], h[n:]
        v_noise, h_noise = self.v_noise[:n_chains], self.h_noise[:n_chains]
        drawn = self.drawn[:n_chains]
        v[:n].copy_(rows)
        self.hidden.mean(rows, weights, h[:n])
        if not task.persistent:
            self.hidden.draw(h[:n], h_noise, drawn)
        for sweep in range(task.k):
            self.visible.mean(drawn, weights.T, chain_v)
            self.visible.draw(chain_v, v_noise, chain_v)
            self.hidden.mean(chain_v, weights, chain_h)
            if task.persistent or sweep + 1 < task.k:
                self.hidden.draw(chain_h, h_noise, drawn)
        chain_h.mul_(-n / n_chains)
        self.signs[n : n + n_chains] = -n / n_chains
        self.signs[:n] = 1
        self._step(v, h, self.signs[: n + n_chains], self.ones[: n + n_chains], n)

    def _step(self, v, h, signs, ones, n):
        task = self.task
        parameters = [self.weights, self.visible.bias, self.hidden.bias]
        learns = [True, True, task.layers[1] != "gaussian"]
        if not (task.momentum or task.weight_decay):
            rate = task.learning_rate / n
            parameters[0].addmm_(v.T, h, alpha=rate)
            parameters[1].addmv_(v.T, signs, alpha=rate)
            if learns[2]:
                parameters[2].addmv_(h.T, ones, alpha=rate)
            return
        weights, visible, hidden = self.velocities
        weights.addmm_(v.T, h, beta=task.momentum, alpha=1 / n)
        visible.addmv_(v.T, signs, beta=task.momentum, alpha=1 / n)
        hidden.addmv_(h.T, ones, beta=task.momentum, alpha=1 / n)
        if task.weight_decay:
            weights.add_(parameters[0], alpha=-task.weight_decay)
        for parameter, velocity, moves in zip(parameters, self.velocities, learns, strict=True):
            if moves:
                parameter.add_(velocity, alpha=task.learning_rate)

    def model(self):
        """Return the parameters as a fastrbm.RBM."""
        return as_rbm(self.task, self.weights, self.visible.bias, self.hidden.bias)


class Sampler:
    """Block Gibbs chains."""

    def __init__(self, rbm, n_chains, seed=0):
        torch.manual_seed(seed)
        self.weights = torch.from_numpy(rbm.weights)
        self.visible_layer, self.hidden_layer = (
            Conditional(layer.unit, torch.from_numpy(layer.bias))
            for layer in (rbm.visible, rbm.hidden)
        )
        self.v = torch.zeros(n_chains, rbm.n_visible)
        if rbm.visible.unit == "spin":
            self.v.fill_(1)
        block = min(n_chains, BLOCK)
        self.h = torch.empty(block, rbm.n_hidden)
        self.noise = [torch.empty(block, n) for n in (rbm.n_visible, rbm.n_hidden)]

    @torch.no_grad()
    def sweeps(self, n):
        """Make n sweeps of all chains."""
        for v in self.v.split(BLOCK):
            h = self.h[: len(v)]
            v_noise, h_noise = (noise[: len(v)] for noise in self.noise)
            for _ in range(n):
                self.hidden_layer.mean(v, self.weights, h)
                self.hidden_layer.draw(h, h_noise, h)
                self.visible_layer.mean(h, self.weights.T, v)
                self.visible_layer.draw(v, v_noise, v)

    def visible(self):
        """Return the visible states (n_chains, n_visible)."""
        return self.v.numpy()

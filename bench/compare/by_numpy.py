"""RBMs by hand in NumPy: float32, in place, preallocated, products by BLAS.

Sigmoids by NumPy's own vectorised exp, which is faster than scipy.special.expit; uniforms from
SFC64, NumPy's fastest generator. Data and chain lie in one array, so that a gradient is one product
over 2 B rows. Rows are taken in the order given.
"""

import contextlib

import numpy as np
import threadpoolctl

from .start import as_rbm, start

#: Chains are run in blocks of this many: their arrays stay in cache.
BLOCK = 512


@contextlib.contextmanager
def threads(n):
    """So many BLAS threads, and no warning where exp overflows to a probability of 0."""
    with threadpoolctl.threadpool_limits(n, "blas"), np.errstate(over="ignore"):
        yield


class Conditional:
    """Mean and draw of one layer given its input."""

    def __init__(self, unit, bias, rng):
        self.unit, self.bias, self.rng = unit, bias, rng
        # sigmoid(x) = 1 / (1 + exp(-x)); a Spin unit has sigmoid(2 x).
        self.scale = np.float32(-2 if unit == "spin" else -1)

    def mean(self, states, weights, out):
        """E[unit | states]; for Spin the probability of +1, which is all that a draw needs."""
        np.dot(states, weights, out=out)
        out += self.bias
        if self.unit != "gaussian":
            out *= self.scale
            np.exp(out, out=out)
            out += 1
            np.reciprocal(out, out=out)
        return out

    def draw(self, mean, noise, out):
        """A state of each unit, given its mean; `out` may be `mean`."""
        if self.unit == "gaussian":
            self.rng.standard_normal(out=noise, dtype=np.float32)
            return np.add(mean, noise, out=out)
        self.rng.random(out=noise, dtype=np.float32)
        np.less(noise, mean, out=out)
        if self.unit == "spin":
            out *= 2
            out -= 1
        return out


class Trainer:
    """CD-k and PCD-k with momentum and weight decay."""

    def __init__(self, task, data, seed=0):
        self.task, self.data = task, data
        self.weights, visible_bias, hidden_bias = start(task, data, seed)
        rng = np.random.Generator(np.random.SFC64(seed))
        self.visible = Conditional(task.layers[0], visible_bias, rng)
        self.hidden = Conditional(task.layers[1], hidden_bias, rng)
        self.velocities = [np.zeros_like(p) for p in (self.weights, visible_bias, hidden_bias)]
        self.gradient = np.empty_like(self.weights)
        size = task.size
        self.v = np.zeros((2 * size, task.n_visible), np.float32)
        self.h = np.zeros((2 * size, task.n_hidden), np.float32)
        self.v_noise, self.h_noise = np.empty_like(self.v[:size]), np.empty_like(self.h[:size])
        self.drawn = np.empty_like(self.h_noise)
        self.signs, self.ones = np.ones(2 * size, np.float32), np.ones(2 * size, np.float32)
        if task.persistent:
            self.hidden.mean(data[:size], self.weights, self.h[:size])
            self.hidden.draw(self.h[:size], self.h_noise, self.drawn)

    def epoch(self, n_rows=None):
        """One pass over the first `n_rows` rows."""
        data, size = self.data[:n_rows], self.task.size
        for first in range(0, len(data), size):
            self.update(data[first : first + size])

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
        v[:n] = rows
        self.hidden.mean(rows, weights, h[:n])
        if not task.persistent:
            self.hidden.draw(h[:n], h_noise, drawn)
        for sweep in range(task.k):
            self.visible.mean(drawn, weights.T, chain_v)
            self.visible.draw(chain_v, v_noise, chain_v)
            self.hidden.mean(chain_v, weights, chain_h)
            if task.persistent or sweep + 1 < task.k:
                self.hidden.draw(chain_h, h_noise, drawn)
        balance = np.float32(-n / n_chains)
        chain_h *= balance
        self.signs[:n], self.signs[n:] = 1, balance
        np.dot(v.T, h, out=self.gradient)
        gradients = [
            self.gradient,
            np.dot(self.signs[: n + n_chains], v),
            np.dot(self.ones[: n + n_chains], h),
        ]
        self._step(gradients, np.float32(1 / n))

    def _step(self, gradients, one_over_n):
        task = self.task
        parameters = [self.weights, self.visible.bias, self.hidden.bias]
        if task.layers[1] == "gaussian":
            del parameters[2]
        for parameter, velocity, gradient in zip(
            parameters, self.velocities, gradients, strict=False
        ):
            if not (task.momentum or task.weight_decay):
                gradient *= np.float32(task.learning_rate) * one_over_n
                parameter += gradient
                continue
            velocity *= np.float32(task.momentum)
            gradient *= one_over_n
            velocity += gradient
            if parameter is self.weights and task.weight_decay:
                np.multiply(parameter, np.float32(task.weight_decay), out=gradient)
                velocity -= gradient
            np.multiply(velocity, np.float32(task.learning_rate), out=gradient)
            parameter += gradient

    def model(self):
        """Return the parameters as a fastrbm.RBM."""
        return as_rbm(self.task, self.weights, self.visible.bias, self.hidden.bias)


class Sampler:
    """Block Gibbs chains."""

    def __init__(self, rbm, n_chains, seed=0):
        rng = np.random.Generator(np.random.SFC64(seed))
        self.weights = rbm.weights
        self.visible_layer, self.hidden_layer = (
            Conditional(layer.unit, layer.bias, rng) for layer in (rbm.visible, rbm.hidden)
        )
        low = -1 if rbm.visible.unit == "spin" else 0
        self.v = np.full((n_chains, rbm.n_visible), low, np.float32)
        block = min(n_chains, BLOCK)
        self.h = np.empty((block, rbm.n_hidden), np.float32)
        self.noise = [np.empty((block, n), np.float32) for n in (rbm.n_visible, rbm.n_hidden)]

    def sweeps(self, n):
        """Make n sweeps of all chains."""
        for first in range(0, len(self.v), BLOCK):
            v = self.v[first : first + BLOCK]
            h = self.h[: len(v)]
            v_noise, h_noise = (noise[: len(v)] for noise in self.noise)
            for _ in range(n):
                self.hidden_layer.mean(v, self.weights, h)
                self.hidden_layer.draw(h, h_noise, h)
                self.visible_layer.mean(h, self.weights.T, v)
                self.visible_layer.draw(v, v_noise, v)

    def visible(self):
        """Return the visible states (n_chains, n_visible)."""
        return self.v

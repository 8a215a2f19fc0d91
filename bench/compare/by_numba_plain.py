"""CD-k and PCD-k in plain numba: loops on one thread, numba's own exp and random numbers.

What one writes at first, compiled with fastmath and in float32; a whole epoch is one call.
"""

import contextlib
import math

import numpy as np
from numba import njit

from .start import as_rbm, start

f32 = np.float32
KINDS = {"bernoulli": 0, "spin": 1, "gaussian": 2}


def threads(n):
    """One thread, whatever is given."""
    return contextlib.nullcontext()


@njit(fastmath=True, error_model="numpy")
def _mean(x, kind):
    if kind == 2:
        return x
    return f32(1) / (f32(1) + math.exp(-x if kind == 0 else f32(-2) * x))


@njit(fastmath=True, error_model="numpy")
def _draw(mean, kind):
    if kind == 2:
        return f32(mean + np.random.standard_normal())  # noqa: NPY002  numba's generator
    if np.random.random() < mean:  # noqa: NPY002
        return f32(1)
    return f32(0) if kind == 0 else f32(-1)


@njit(fastmath=True, error_model="numpy")
def _hidden_means(v, weights, bias, kind, out):
    out[:] = bias
    for i in range(v.shape[0]):
        x = v[i]
        for j in range(out.shape[0]):
            out[j] += x * weights[i, j]
    for j in range(out.shape[0]):
        out[j] = _mean(out[j], kind)


@njit(fastmath=True, error_model="numpy")
def _draw_visible(h, weights, bias, kind, out):
    for i in range(out.shape[0]):
        x = bias[i]
        for j in range(h.shape[0]):
            x += weights[i, j] * h[j]
        out[i] = _draw(_mean(x, kind), kind)


@njit(fastmath=True, error_model="numpy")
def _add_outer(v, h, scale, gradient, visible, hidden):
    for i in range(v.shape[0]):
        x = scale * v[i]
        visible[i] += x
        for j in range(h.shape[0]):
            gradient[i, j] += x * h[j]
    for j in range(h.shape[0]):
        hidden[j] += scale * h[j]


@njit(fastmath=True, error_model="numpy")
def _seed(seed):
    np.random.seed(seed)  # noqa: NPY002


@njit(fastmath=True, error_model="numpy")
def _epoch(data, size, parameters, velocities, gradients, kinds, k, persistent, settings, states):
    weights, visible_bias, hidden_bias = parameters
    gradient, visible_gradient, hidden_gradient = gradients
    rate, momentum, decay = settings
    v, drawn, h = states
    for first in range(0, data.shape[0], size):
        n = min(size, data.shape[0] - first)
        n_chains = size if persistent else n
        gradient[:] = f32(0)
        visible_gradient[:] = f32(0)
        hidden_gradient[:] = f32(0)
        for r in range(max(n, n_chains)):
            if r < n:
                row = data[first + r]
                _hidden_means(row, weights, hidden_bias, kinds[1], h)
                _add_outer(row, h, f32(1) / f32(n), gradient, visible_gradient, hidden_gradient)
            if r >= n_chains:
                continue
            if not persistent:
                for j in range(h.shape[0]):
                    drawn[r, j] = _draw(h[j], kinds[1])
            for sweep in range(k):
                _draw_visible(drawn[r], weights, visible_bias, kinds[0], v)
                _hidden_means(v, weights, hidden_bias, kinds[1], h)
                if persistent or sweep + 1 < k:
                    for j in range(h.shape[0]):
                        drawn[r, j] = _draw(h[j], kinds[1])
            scale = f32(-1) / f32(n_chains)
            _add_outer(v, h, scale, gradient, visible_gradient, hidden_gradient)
        for i in range(weights.shape[0]):
            for j in range(weights.shape[1]):
                x = momentum * velocities[0][i, j] + gradient[i, j] - decay * weights[i, j]
                velocities[0][i, j] = x
                weights[i, j] += rate * x
        for i in range(weights.shape[0]):
            velocities[1][i] = momentum * velocities[1][i] + visible_gradient[i]
            visible_bias[i] += rate * velocities[1][i]
        if kinds[1] != 2:
            for j in range(weights.shape[1]):
                velocities[2][j] = momentum * velocities[2][j] + hidden_gradient[j]
                hidden_bias[j] += rate * velocities[2][j]


class Trainer:
    """CD-k and PCD-k with momentum and weight decay."""

    def __init__(self, task, data, seed=0):
        self.task, self.data = task, data
        self.parameters = start(task, data, seed)
        self.velocities = tuple(np.zeros_like(p) for p in self.parameters)
        self.gradients = tuple(np.zeros_like(p) for p in self.parameters)
        self.kinds = tuple(KINDS[unit] for unit in task.layers)
        self.settings = tuple(
            f32(x) for x in (task.learning_rate, task.momentum, task.weight_decay)
        )
        shapes = task.n_visible, (task.size, task.n_hidden), task.n_hidden
        self.states = tuple(np.zeros(shape, f32) for shape in shapes)
        _seed(seed)
        if task.persistent:
            for r in range(min(task.size, len(data))):
                drawn = self.states[1][r]
                _hidden_means(data[r], self.parameters[0], self.parameters[2], self.kinds[1], drawn)
                for j in range(task.n_hidden):
                    drawn[j] = _draw(drawn[j], self.kinds[1])

    def epoch(self, n_rows=None):
        """One pass over the first `n_rows` rows."""
        _epoch(
            self.data[:n_rows], self.task.size, self.parameters, self.velocities, self.gradients,
            self.kinds, self.task.k, self.task.persistent, self.settings, self.states,
        )  # fmt: skip

    def model(self):
        """Return the parameters as a fastrbm.RBM."""
        return as_rbm(self.task, *self.parameters)

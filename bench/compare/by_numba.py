"""RBMs by hand in numba: an epoch is one compiled call, products by BLAS, the rest fused loops.

Threads are numba's: they take rows of the mini-batch for the chains (which need no barrier between
half sweeps) and rows of the weights for the gradient, and call BLAS limited to one thread each,
since a threaded BLAS between numba's regions makes both teams wait. The sigmoid is a polynomial and
the random numbers are a hash of a counter (lowbias32 of C. Wellons), because both vectorise and
numba's own do not: 1.3 against 23 ns a unit. Work too small for threads runs on one of them, work
too small for BLAS in plain loops.
"""

import contextlib
import math

import numba
import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  the BLAS that numba calls, loaded to be limited
import threadpoolctl
from numba import njit, prange

from .start import as_rbm, start

f32, i32, u32 = np.float32, np.int32, np.uint32

#: Weights below which loops beat a call of BLAS.
LOOPS = 4096

#: Operations of a mini-batch, or of a sweep, below which threads cost more than they bring.
SERIAL = 3e6

#: Rows of the weights that one task of the gradient takes.
TILE = 56

#: Chains that one task of the sampler takes, at most.
BLOCK = 128

FAST = {"fastmath": True, "error_model": "numpy"}


@njit(inline="always", **FAST)
def _hash(x):
    x = u32(x)
    x = u32(x ^ u32(x >> u32(16)))
    x = u32(x * u32(0x7FEB352D))
    x = u32(x ^ u32(x >> u32(15)))
    x = u32(x * u32(0x846CA68B))
    return u32(x ^ u32(x >> u32(16)))


@njit(inline="always", **FAST)
def _uniform(x):
    return f32(i32(u32(_hash(x) >> u32(8)))) * f32(2.0**-24)


@njit(inline="always", **FAST)
def _exp(x):
    """exp(x) to 4e-6, by 2^floor and a polynomial of degree 5."""
    t = min(max(x, f32(-80)), f32(80)) * f32(1.4426950408889634)
    whole = np.floor(t + f32(0.5))
    f = t - whole
    p = f32(0.009618129) + f * f32(0.0013333558)
    p = f32(0.6931472) + f * (f32(0.2402265) + f * (f32(0.05550411) + f * p))
    bits = i32((i32(whole) + i32(127)) << i32(23))
    return (f32(1) + f * p) * bits.view(f32)


# ----------------------------------------------------------------- means and draws, row by row


@njit(**FAST)
def _finish_mean(fields, bias, kind):
    """Fields without bias -> means (Spin: probabilities of +1), in place."""
    for r in range(fields.shape[0]):
        for j in range(fields.shape[1]):
            x = fields[r, j] + bias[j]
            if kind == 0:
                x = f32(1) / (f32(1) + _exp(-x))
            elif kind == 1:
                x = f32(1) / (f32(1) + _exp(f32(-2) * x))
            fields[r, j] = x


@njit(**FAST)
def _draw(means, kind, counter, out):
    """States from means; uses counters from `counter` on, one a unit."""
    n = means.shape[1]
    for r in range(means.shape[0]):
        first = u32(counter + r * n)
        if kind == 2:
            _normals(means[r], first, out[r])
            continue
        low = f32(0) if kind == 0 else f32(-1)
        for j in range(n):
            out[r, j] = f32(1) if _uniform(u32(first + u32(j))) < means[r, j] else low


@njit(**FAST)
def _normals(means, first, out):
    """Box-Muller: two normals of two uniforms."""
    n = means.shape[0]
    half = (n + 1) // 2
    for j in range(half):
        radius = math.sqrt(f32(-2) * math.log(f32(1) - _uniform(u32(first + u32(j)))))
        angle = f32(2 * math.pi) * _uniform(u32(first + u32(half + j)))
        out[j] = means[j] + radius * math.cos(angle)
        if half + j < n:
            out[half + j] = means[half + j] + radius * math.sin(angle)


# ------------------------------------------------------------------ products, by BLAS or in loops


@njit(**FAST)
def _times_blas(a, w, out):
    np.dot(a, w, out)


@njit(**FAST)
def _times_transposed_blas(a, w, out):
    np.dot(a, w.T, out)


@njit(**FAST)
def _times_loops(a, w, out):
    for r in range(a.shape[0]):
        for j in range(w.shape[1]):
            out[r, j] = f32(0)
        for i in range(w.shape[0]):
            x = a[r, i]
            for j in range(w.shape[1]):
                out[r, j] += x * w[i, j]


@njit(**FAST)
def _times_transposed_loops(a, w, out):
    for r in range(a.shape[0]):
        for i in range(w.shape[0]):
            x = f32(0)
            for j in range(w.shape[1]):
                x += a[r, j] * w[i, j]
            out[r, i] = x


# ------------------------------------------------------------------------------------ an epoch


def _epoch_with(times, times_transposed):
    """An epoch whose products are these two functions."""

    def epoch(
        data, parameters, velocities, kinds, k, persistent, settings, buffers, counter, n_tiles
    ):
        weights, visible_bias, hidden_bias = parameters
        weights_velocity, visible_velocity, hidden_velocity = velocities
        visible_kind, hidden_kind = kinds
        rate, momentum, decay = settings
        all_v, all_h, drawn, v_transposed, gradient = buffers
        n_visible, n_hidden = weights.shape
        size = drawn.shape[0]
        step = u32(n_visible + n_hidden)
        plain = momentum == 0 and decay == 0
        for first in range(0, data.shape[0], size):
            n = min(size, data.shape[0] - first)
            n_chains = size if persistent else n
            most = max(n, n_chains)
            for tile in prange(n_tiles):
                # Rows of the data term, and as many chains.
                begin, end = most * tile // n_tiles, most * (tile + 1) // n_tiles
                chains_end = min(end, n_chains)
                rows_end = min(end, n)
                if begin < rows_end:
                    for r in range(begin, rows_end):
                        for i in range(n_visible):
                            all_v[r, i] = data[first + r, i]
                    h = all_h[begin:rows_end]
                    times(all_v[begin:rows_end], weights, h)
                    _finish_mean(h, hidden_bias, hidden_kind)
                if begin < chains_end:
                    v = all_v[n + begin : n + chains_end]
                    h = all_h[n + begin : n + chains_end]
                    state = drawn[begin:chains_end]
                    # Counters: one span for each update, sweep and row.
                    base = u32(counter + u32(begin) * step)
                    span = u32(size) * step
                    if not persistent:
                        _draw(all_h[begin:rows_end], hidden_kind, base, state)
                    for sweep in range(k):
                        base = u32(base + span)
                        times_transposed(state, weights, v)
                        _finish_mean(v, visible_bias, visible_kind)
                        _draw(v, visible_kind, base, v)
                        times(v, weights, h)
                        _finish_mean(h, hidden_bias, hidden_kind)
                        if persistent or sweep + 1 < k:
                            after = u32(base + u32(n_visible) * u32(chains_end - begin))
                            _draw(h, hidden_kind, after, state)
            counter = u32(counter + u32(k + 1) * u32(size) * step)
            # The gradient: one product over data and chains.
            count = n + n_chains
            scale = f32(1) / f32(n)
            balance = -f32(n) / f32(n_chains)
            for r in range(n, count):
                for j in range(n_hidden):
                    all_h[r, j] *= balance
            stacked = all_h[:count]
            tiles = (n_visible + TILE - 1) // TILE
            for tile in prange(tiles):
                begin, end = tile * TILE, min(n_visible, (tile + 1) * TILE)
                turned = v_transposed[begin * count : end * count].reshape((end - begin, count))
                for i in range(begin, end):
                    total = f32(0)
                    for r in range(n):
                        x = all_v[r, i]
                        turned[i - begin, r] = x
                        total += x
                    for r in range(n, count):
                        x = all_v[r, i]
                        turned[i - begin, r] = x
                        total += balance * x
                    velocity = momentum * visible_velocity[i] + scale * total
                    visible_velocity[i] = velocity
                    visible_bias[i] += rate * velocity
                g = gradient[begin:end]
                times(turned, stacked, g)
                if plain:
                    for i in range(begin, end):
                        for j in range(n_hidden):
                            weights[i, j] += rate * scale * g[i - begin, j]
                else:
                    for i in range(begin, end):
                        for j in range(n_hidden):
                            x = momentum * weights_velocity[i, j] + scale * g[i - begin, j]
                            x -= decay * weights[i, j]
                            weights_velocity[i, j] = x
                            weights[i, j] += rate * x
            if hidden_kind != 2:
                for j in range(n_hidden):
                    total = f32(0)
                    for r in range(count):
                        total += all_h[r, j]
                    velocity = momentum * hidden_velocity[j] + scale * total
                    hidden_velocity[j] = velocity
                    hidden_bias[j] += rate * velocity
        return counter

    return epoch


KINDS = {"bernoulli": 0, "spin": 1, "gaussian": 2}
_compiled = {}


def _compile(make, name, loops, parallel):
    """The compiled function of this form, made once."""
    key = name, loops, parallel
    if key not in _compiled:
        if loops:
            function = make(_times_loops, _times_transposed_loops)
        else:
            function = make(_times_blas, _times_transposed_blas)
        _compiled[key] = njit(parallel=parallel, **FAST)(function)
    return _compiled[key]


@contextlib.contextmanager
def threads(n):
    """So many of numba's threads, each with one of BLAS."""
    numba.set_num_threads(n)
    with threadpoolctl.threadpool_limits(1, "blas"):
        yield


class Trainer:
    """CD-k and PCD-k with momentum and weight decay."""

    def __init__(self, task, data, seed=0):
        self.task, self.data = task, data
        self.parameters = start(task, data, seed)
        self.velocities = tuple(np.zeros_like(p) for p in self.parameters)
        self.kinds = tuple(KINDS[unit] for unit in task.layers)
        self.settings = tuple(
            f32(x) for x in (task.learning_rate, task.momentum, task.weight_decay)
        )
        size, n_visible, n_hidden = task.size, task.n_visible, task.n_hidden
        self.buffers = (
            np.zeros((2 * size, n_visible), f32),
            np.zeros((2 * size, n_hidden), f32),
            np.zeros((size, n_hidden), f32),
            np.empty(2 * size * n_visible, f32),
            np.empty((n_visible, n_hidden), f32),
        )
        self.counter = _hash(u32(seed))
        if task.persistent:
            _times_loops(data[:size], self.parameters[0], self.buffers[1][:size])
            _finish_mean(self.buffers[1][:size], self.parameters[2], self.kinds[1])
            _draw(self.buffers[1][:size], self.kinds[1], _hash(self.counter), self.buffers[2])

    def epoch(self, n_rows=None):
        """One pass over the first `n_rows` rows."""
        task, n_threads = self.task, numba.get_num_threads()
        loops = task.n_visible * task.n_hidden <= LOOPS
        parallel = n_threads > 1 and task.size * task.unit_flops > SERIAL
        run = _compile(_epoch_with, "epoch", loops, parallel)
        self.counter = run(
            self.data[:n_rows], self.parameters, self.velocities, self.kinds, task.k,
            task.persistent, self.settings, self.buffers, u32(self.counter),
            min(n_threads, task.size) if parallel else 1,
        )  # fmt: skip

    def model(self):
        """Return the parameters as a fastrbm.RBM."""
        return as_rbm(self.task, *self.parameters)


# ------------------------------------------------------------------------------------- sampling


def _sweeps_with(times, times_transposed):
    """Sweeps whose products are these two functions."""

    def sweeps(n, weights, biases, kinds, v, h, counter, block):
        n_visible, n_hidden = weights.shape
        n_chains = v.shape[0]
        step = u32(n_visible + n_hidden)
        for part in prange((n_chains + block - 1) // block):
            begin, end = part * block, min(n_chains, (part + 1) * block)
            a, b = v[begin:end], h[begin:end]
            for sweep in range(n):
                base = u32(counter + u32(sweep) * u32(n_chains) * step + u32(begin) * step)
                times(a, weights, b)
                _finish_mean(b, biases[1], kinds[1])
                _draw(b, kinds[1], base, b)
                times_transposed(b, weights, a)
                _finish_mean(a, biases[0], kinds[0])
                _draw(a, kinds[0], u32(base + u32(n_hidden) * u32(end - begin)), a)
        return u32(counter + u32(n) * u32(n_chains) * step)

    return sweeps


class Sampler:
    """Block Gibbs chains; a thread makes all sweeps of its block of chains."""

    def __init__(self, rbm, n_chains, seed=0):
        self.weights, self.biases = rbm.weights, (rbm.visible.bias, rbm.hidden.bias)
        self.kinds = KINDS[rbm.visible.unit], KINDS[rbm.hidden.unit]
        low = -1 if rbm.visible.unit == "spin" else 0
        self.v = np.full((n_chains, rbm.n_visible), low, f32)
        self.h = np.zeros((n_chains, rbm.n_hidden), f32)
        self.counter = _hash(u32(seed))

    def sweeps(self, n):
        """Make n sweeps of all chains."""
        n_chains, n_threads = len(self.v), numba.get_num_threads()
        block = max(1, min(BLOCK, -(-n_chains // n_threads)))
        parallel = n_threads > 1 and n_chains > block
        run = _compile(_sweeps_with, "sweeps", self.weights.size <= LOOPS, parallel)
        self.counter = run(
            n, self.weights, self.biases, self.kinds, self.v, self.h, u32(self.counter), block
        )

    def visible(self):
        """Return the visible states (n_chains, n_visible)."""
        return self.v

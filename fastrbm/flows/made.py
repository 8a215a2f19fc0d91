"""MADE: a masked perceptron whose outputs for x_i depend on x_1 .. x_(i-1) and the context alone.

M. Germain, K. Gregor, I. Murray, H. Larochelle, "MADE: Masked Autoencoder for Distribution
Estimation", ICML 2015. Input x_i has degree i, hidden units have degrees 1 .. D - 1 spread evenly
(from 0 where there is a context, which has degree 0, so that the outputs for x_1 see it), outputs
for x_i degree i. A hidden unit of degree m sees units of degree <= m, an output of degree i hidden
units of degree < i, strictly.

**Each unit once.** Hidden units stand in the order of their degrees. So when x_1 .. x_i are known,
all units of degrees <= i can be computed, and they are all that the outputs for x_(i+1) need. The
sequential direction of an autoregressive flow walks up the degrees and computes every unit exactly
once: the arithmetic of one pass, where D passes through the whole network are usual. Its backward
pass walks down the degrees in the same way. Both keep units as rows, so that units of consecutive
degrees are one contiguous block and each step is one matrix product.

A product of a few rows is slow: it reads all units below for little arithmetic. So the upward walk
goes by groups of degrees, as blocked triangular solvers do: what the units below a group send to it
is one product for the whole group, and a step adds only what came since.
"""

import itertools

import numpy as np

from .. import validation
from .conditioners import MLP

#: Degrees that share one product with all units below them (measured: 4 to 16 are alike).
GROUP = 8


class MADE(MLP):
    """A masked multilayer perceptron.

    Parameters
    ----------
    dim : int
    widths : sequence of int
        Units of each hidden layer.
    n_raw : int
        Outputs for each x_i. Output r of x_i is column r dim + i.
    context_dim : int
    activation : {"relu", "tanh"}
    rng : None, int, SeedSequence, BitGenerator or Generator

    Examples
    --------
    >>> from fastrbm.flows import MADE
    >>> MADE(3, [4], 1).connectivity().astype(int)  # row: input, column: output
    array([[0, 1, 1],
           [0, 0, 1],
           [0, 0, 0]])
    """

    def __init__(self, dim, widths, n_raw, *, context_dim=0, activation="relu", rng=None):
        self.dim = validation.integer("dim", dim, 1)
        self.n_raw = validation.integer("n_raw", n_raw, 0)
        self.context_dim = validation.integer("context_dim", context_dim, 0)
        super().__init__(dim + context_dim, widths, n_raw * dim, activation=activation, rng=rng)
        first = 0 if context_dim or dim == 1 else 1
        n_degrees = max(dim - first, 1)
        inputs = np.concatenate([np.arange(1, dim + 1), np.zeros(context_dim, int)])
        hidden = [first + _spread(width, n_degrees) for width in self.widths]
        outputs = np.tile(np.arange(1, dim + 1), n_raw)
        #: Degrees of the units of each layer, inputs first and outputs last.
        self.degrees = [inputs, *hidden, outputs]
        self.masks = [
            (before[:, None] < after) if layer == len(hidden) else (before[:, None] <= after)
            for layer, (before, after) in enumerate(itertools.pairwise(self.degrees))
        ]

    @property
    def config(self):
        """Sizes and activation."""
        return {
            "dim": self.dim,
            "widths": self.widths,
            "n_raw": self.n_raw,
            "context_dim": self.context_dim,
            "activation": self.activation,
        }

    def connectivity(self):
        """Return which outputs can depend on which inputs, the product of the masks.

        Returns
        -------
        ndarray of bool (dim + context_dim, n_raw dim)
        """
        product = np.eye(self.n_in, dtype=int)
        for mask in self.masks:
            product = (product @ mask > 0).astype(int)
        return product > 0

    def weights(self, layer):
        """The masked matrix of a layer."""
        return super().weights(layer) * self.masks[layer]

    def weights_vjp(self, layer, h, g):
        """Return what the matrix of a layer receives: nothing where it is masked."""
        return super().weights_vjp(layer, h, g) * self.masks[layer]

    def _known(self, layer, degree):
        """How many units of a hidden layer have degrees <= degree, or each of many degrees.

        They come first.
        """
        return np.searchsorted(self.degrees[layer], degree, side="right")

    def _transposed(self):
        """Masked matrices (units after, units before); the output's as (dim, n_raw, units)."""
        matrices = [np.ascontiguousarray(self.weights(layer).T) for layer in range(self.n_layers)]
        last = matrices[-1].reshape(self.n_raw, self.dim, matrices[-1].shape[1])
        matrices[-1] = np.ascontiguousarray(last.transpose(1, 0, 2))
        return matrices

    def sequential(self, context, n, solve):
        """Find x_1, x_2, ... in turn, each from the outputs that the former ones give.

        Parameters
        ----------
        context : ndarray (n, context_dim) or None
        n : int
            Rows.
        solve : callable
            solve(i, raw) -> x_i of shape (n,), raw being (n_raw, n).

        Returns
        -------
        x : ndarray (n, dim)
        raw : ndarray (n, n_raw dim)
            The outputs at x.
        tape : tuple
            For `sequential_vjp`.
        """
        matrices = self._transposed()
        # Context first and then x: what is known is one block at the top.
        start = self.context_dim
        order = np.roll(np.arange(self.n_in), start)
        flat_out = matrices[-1].reshape(self.n_out, matrices[-1].shape[-1])
        factors = [*matrices[:-1], flat_out]
        factors[0] = np.take(factors[0], order, axis=1)
        biases = [self.bias(layer)[:, None] for layer in range(self.n_layers)]
        biases[-1] = biases[-1].reshape(self.n_raw, self.dim).T.reshape(self.n_out, 1)
        known = np.empty((start + self.dim, n), self.dtype)
        if start:
            known[:start] = context.T
        layers = [np.empty((len(bias), n), self.dtype) for bias in biases]
        raw = layers[-1].reshape(self.dim, self.n_raw, n)
        # Units of each layer that can be computed when i entries are known.
        degrees = np.arange(self.dim)
        ends = [self._known(layer, degrees) for layer in range(1, self.n_layers)]
        ends = [end.tolist() for end in (*ends, (degrees + 1) * self.n_raw)]
        done, added = [0] * len(layers), [0] * len(layers)
        for i in range(self.dim):
            if i % GROUP == 0:
                last = min(i + GROUP, self.dim) - 1
                added = [start + i, *done[:-1]]
                for layer, h in enumerate(layers):
                    block, old = slice(done[layer], ends[layer][last]), slice(added[layer])
                    h[block] = biases[layer][block]
                    if old.stop:
                        below = layers[layer - 1] if layer else known
                        h[block] += factors[layer][block, old] @ below[old]
            below, n_below = known, start + i
            for layer, h in enumerate(layers):
                block, new = slice(done[layer], ends[layer][i]), slice(added[layer], n_below)
                if block.stop > block.start:
                    h[block] += factors[layer][block, new] @ below[new]
                    if h is not layers[-1]:
                        self.activate(h[block])
                    done[layer] = block.stop
                below, n_below = h, done[layer]
            known[start + i] = solve(i, raw[i])
        x = np.ascontiguousarray(known[start:].T)
        flat = np.ascontiguousarray(raw.transpose(2, 1, 0)).reshape(n, self.n_out)
        return x, flat, (matrices, known, layers[:-1])

    def sequential_vjp(self, tape, gx, pull):
        """Go back through `sequential`, from the last degree to the first.

        Parameters
        ----------
        tape : tuple
        gx : ndarray (n, dim)
            Cotangents of x from outside.
        pull : callable
            pull(i, g) -> graw (n_raw, n): what the outputs for x_i receive when all that arrives
            at x_i is g of shape (n,).

        Returns
        -------
        gx : ndarray (n, dim)
            All that arrives at x.
        gcontext : ndarray (n, context_dim) or None
        grads : list of ndarray
            By parameter.
        """
        matrices, known, units = tape
        start, n = self.context_dim, len(gx)
        total = np.ascontiguousarray(gx.T)
        deltas = [np.empty_like(h) for h in units]
        graw = np.zeros((self.dim, self.n_raw, n), self.dtype)
        flat_out = matrices[-1].reshape(self.dim * self.n_raw, -1)
        flat_graw = graw.reshape(self.dim * self.n_raw, n)
        for i in range(self.dim - 1, -1, -1):
            # x_(i+1) has index i; the hidden units of degree i + 1 see it, and are the last to.
            above, rows = flat_graw, slice((i + 1) * self.n_raw, None)
            matrix = flat_out
            for layer in range(len(units) - 1, -1, -1):
                block = slice(self._known(layer + 1, i), self._known(layer + 1, i + 1))
                self._delta(deltas[layer], units[layer], block, matrix, above, rows)
                above, matrix, rows = deltas[layer], matrices[layer], slice(block.start, None)
            total[i] += matrix[rows, i] @ above[rows]
            graw[i] = pull(i, total[i])
        # Units of degree 0 see the context alone.
        above, rows, matrix = flat_graw, slice(None), flat_out
        for layer in range(len(units) - 1, -1, -1):
            block = slice(0, self._known(layer + 1, 0))
            self._delta(deltas[layer], units[layer], block, matrix, above, rows)
            above, matrix = deltas[layer], matrices[layer]
        gcontext = (matrix[:, self.dim :].T @ above).T if start else None
        inputs = np.concatenate([known[start:], known[:start]])
        values = [inputs, *units]
        final = np.ascontiguousarray(graw.transpose(1, 0, 2)).reshape(self.n_out, n)
        grads = []
        for layer, (h, g) in enumerate(zip(values, [*deltas, final], strict=True)):
            grads += [MLP.weights_vjp(self, layer, h.T, g.T) * self.masks[layer], g.sum(axis=1)]
        return np.ascontiguousarray(total.T), gcontext, grads

    def _delta(self, delta, h, block, matrix, above, rows):
        """Set the cotangents of a block of hidden units before their activation."""
        if block.stop > block.start:
            np.matmul(matrix[rows, block].T, above[rows], out=delta[block])
            self.activate_vjp(delta[block], h[block])


def _spread(n_units, n_degrees):
    """Degrees 0 .. n_degrees - 1 over so many units, in order, the last one always among them.

    A unit of the last degree sees all units before it, so that in a layer narrower than the degrees
    none of those is lost.
    """
    if n_units >= n_degrees:
        return np.arange(n_units) * n_degrees // n_units
    return n_degrees - 1 - (np.arange(n_units) * (n_degrees - 1) // max(n_units - 1, 1))[::-1]


def check_conditioner(conditioner, *kinds):
    """Raise a TypeError unless it is of one of the kinds; MADE belongs to `Autoregressive` alone.

    Examples
    --------
    >>> from fastrbm.flows import MADE, MLP
    >>> from fastrbm.flows.made import check_conditioner
    >>> check_conditioner(MADE(2, [4], 1), MLP)
    Traceback (most recent call last):
    TypeError: conditioner must be MLP, got MADE(dim=2, widths=[4], n_raw=1, context_dim=0, ...
    """
    if not isinstance(conditioner, kinds) or isinstance(conditioner, MADE):
        names = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
        raise TypeError(f"conditioner must be {names}, got {conditioner!r}")

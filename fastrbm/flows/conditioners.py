"""Where raw parameters come from: a vector, or a multilayer perceptron of some inputs.

A conditioner has `_forward(inputs, n) -> raw (n or 1, n_out), tape` and `_vjp(tape, graw) ->
ginputs, grads`. The last layer of a perceptron starts at zero, so that every flow starts as the
identity; hidden layers start as in K. He et al., ICCV 2015 (relu), scaled by the number of inputs.
"""

import itertools
import math

import numpy as np

from .. import random, validation
from .module import Module

ACTIVATIONS = ("relu", "tanh")


class Constant(Module):
    """The same raw parameters for every row: one trainable vector, zero at the start.

    Parameters
    ----------
    n_out : int

    Examples
    --------
    >>> from fastrbm.flows import Constant
    >>> Constant(3).parameters["value"]
    array([0., 0., 0.])
    """

    def __init__(self, n_out):
        super().__init__()
        self.n_out = validation.integer("n_out", n_out, 0)
        self.own_parameters = {"value": np.zeros(self.n_out)}

    @property
    def config(self):
        """The length."""
        return {"n_out": self.n_out}

    def start_from(self, raw):
        """Give these raw parameters where all are zero now."""
        if not self.own_parameters["value"].any():
            self.own_parameters["value"][:] = raw

    def _forward(self, inputs, n):
        return self.own_parameters["value"][None], None

    def _vjp(self, tape, graw):
        return None, [graw.sum(axis=0)]


class MLP(Module):
    """A multilayer perceptron with hand-written backward pass.

    Parameters
    ----------
    n_in, n_out : int
        Lengths of a row of inputs and of outputs.
    widths : sequence of int
        Units of each hidden layer; none makes it linear.
    activation : {"relu", "tanh"}
    rng : None, int, SeedSequence, BitGenerator or Generator

    Notes
    -----
    A pass costs n (n_in w + w^2 + ... + w n_out) multiply-adds, backward twice that, all in BLAS.

    Examples
    --------
    >>> from fastrbm.flows import MLP
    >>> MLP(2, [8, 8], 3, rng=0).n_parameters
    123
    """

    def __init__(self, n_in, widths, n_out, *, activation="relu", rng=None):
        super().__init__()
        self.n_in = validation.integer("n_in", n_in, 0)
        self.n_out = validation.integer("n_out", n_out, 0)
        if not isinstance(widths, (list, tuple)):
            raise TypeError(f"widths must be a list of integers >= 1, got {widths!r}")
        self.widths = [validation.integer("widths", width, 1) for width in widths]
        self.activation = validation.choice("activation", activation, ACTIVATIONS)
        generator = np.random.default_rng(random.key(rng))
        sizes = [self.n_in, *self.widths, self.n_out]
        for layer, (n, m) in enumerate(itertools.pairwise(sizes)):
            gain = 0.0 if layer == len(self.widths) else math.sqrt(2 / max(n, 1))
            self.own_parameters[f"weights_{layer}"] = gain * generator.standard_normal((n, m))
            # Kinks spread over the data's range, else all of them would meet at the origin.
            spread = gain / 2
            self.own_parameters[f"bias_{layer}"] = spread * generator.uniform(-1, 1, m)

    @property
    def config(self):
        """Sizes and activation."""
        return {
            "n_in": self.n_in,
            "widths": self.widths,
            "n_out": self.n_out,
            "activation": self.activation,
        }

    @property
    def n_layers(self):
        """Hidden layers and the output."""
        return len(self.widths) + 1

    def weights(self, layer):
        """The matrix (units before, units after) that a layer multiplies by."""
        return self.own_parameters[f"weights_{layer}"]

    def bias(self, layer):
        """The vector that a layer adds."""
        return self.own_parameters[f"bias_{layer}"]

    def start_from(self, raw):
        """Give these raw parameters for every row where all are zero now."""
        last = self.n_layers - 1
        if not (self.weights(last).any() or self.bias(last).any()):
            self.bias(last)[:] = raw

    def activate(self, h):
        """Apply the activation in place."""
        return np.maximum(h, 0, out=h) if self.activation == "relu" else np.tanh(h, out=h)

    def activate_vjp(self, g, h):
        """Multiply g in place by the activation's derivative, h being its value."""
        if self.activation == "relu":
            g *= h > 0
        else:
            g *= 1 - h * h
        return g

    def _forward(self, inputs, n):
        h, tape = inputs, []
        for layer in range(self.n_layers):
            weights = self.weights(layer)
            tape.append((h, weights))
            h = product(h, weights)
            h += self.bias(layer)
            if layer < self.n_layers - 1:
                self.activate(h)
        return h, tape

    def _vjp(self, tape, graw):
        g, grads = graw, []
        for layer in range(self.n_layers - 1, -1, -1):
            h, weights = tape[layer]
            grads[:0] = [self.weights_vjp(layer, h, g), column_sums(g)]
            g = product(g, weights.T)
            if layer:
                self.activate_vjp(g, h)
        return g, grads

    def weights_vjp(self, layer, h, g):
        """Return what the matrix of a layer receives."""
        return h.T @ g


def column_sums(g):
    """Return g.sum(axis=0), as a product, which is three times as fast."""
    return np.ones(len(g), g.dtype) @ g


def product(a, b):
    """Return a @ b; BLAS is 8 times slower than an outer product where one column meets one row."""
    return a * b if a.shape[1] == 1 else a @ b

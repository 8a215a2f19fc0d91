"""Three ways to apply a univariate map to a row: to each entry, to a part, or one after another.

All three take a map (maps.py, spline.py) and a conditioner (conditioners.py, made.py):

    Elementwise       y_i = f(x_i; raw_i)                  raw free, or a function of the context
    Coupling          y_b = f(x_b; raw(x_a)), y_a = x_a    NICE, RealNVP, coupling splines
    Autoregressive    y_i = f(x_i; raw_i(x_1 .. x_(i-1)))  IAF; MAF is `Invert` of it

The Jacobian is triangular, so that log|det| is the sum of the log-slopes. L. Dinh et al. 2015, 2017
(NICE, RealNVP); D. Kingma et al., "Improved Variational Inference with Inverse Autoregressive
Flow", NIPS 2016; G. Papamakarios, T. Pavlakou, I. Murray, "Masked Autoregressive Flow for Density
Estimation", NIPS 2017.
"""

import numpy as np

from .. import validation
from .bijection import Bijection
from .conditioners import MLP, Constant
from .made import MADE, check_conditioner
from .maps import Univariate


class Mapped(Bijection):
    """Both directions by one call of the map, or of its inverse, with the same parameters.

    A subclass writes `_apply`, which calls what it is given, and `_back`, which goes back through.
    """

    def _forward(self, x, context):
        return self._apply(self.map.forward, x, context)

    def _inverse(self, y, context):
        return self._apply(self.map.inverse, y, context)

    def _forward_vjp(self, tape, g, s):
        return self._back(self.map.forward_vjp, tape, g, s)

    def _inverse_vjp(self, tape, g, s):
        return self._back(self.map.inverse_vjp, tape, g, s)


class Elementwise(Mapped):
    """The same kind of map for every entry, with parameters of its own.

    Parameters
    ----------
    dim : int
    map : Univariate
    conditioner : Constant or MLP, optional
        By default `Constant`; an MLP of the context makes the parameters depend on it.

    Examples
    --------
    >>> from fastrbm.flows import Affine, Elementwise
    >>> Elementwise(3, Affine()).n_parameters
    6
    """

    def __init__(self, dim, map, conditioner=None):
        _check_map(map)
        check_conditioner(conditioner, Constant, MLP, type(None))
        super().__init__(dim, conditioner.n_in if isinstance(conditioner, MLP) else 0)
        self.map = map
        self.conditioner = Constant(map.n_raw * dim) if conditioner is None else conditioner
        if self.conditioner.n_out != map.n_raw * dim:
            raise ValueError(
                f"conditioner must have {map.n_raw * dim} outputs, got {self.conditioner.n_out}"
            )
        self.children = {"map": map, "conditioner": self.conditioner}
        self.dtype = self.conditioner.dtype

    @property
    def config(self):
        """dim, map and conditioner."""
        return {"dim": self.dim, "map": self.map, "conditioner": self.conditioner}

    def __repr__(self):
        return f"Elementwise({self.dim}, {self.map!r}{_context(self)})"

    def _apply(self, apply, x, context):
        raw, memory = self.conditioner._forward(context, len(x))
        y, log_slope, tape = apply(x, raw.reshape(len(raw), self.map.n_raw, self.dim))
        return y, log_slope.sum(axis=1), (tape, memory)

    def _back(self, back, tape, g, s):
        g, graw = back(tape[0], g, s[:, None])
        gcontext, grads = self.conditioner._vjp(
            tape[1], graw.reshape(len(g), self.conditioner.n_out)
        )
        return g, gcontext, grads


class Coupling(Mapped):
    """A part of the row stays, and says how the other part is moved.

    Both directions cost one pass through the conditioner.

    Parameters
    ----------
    mask : array_like of bool (dim,)
        True where an entry stays. `half_mask` and `checkerboard_mask` make the usual ones.
    map : Univariate
    conditioner : MLP
        From the entries that stay, followed by the context, to map.n_raw times the others.

    Examples
    --------
    >>> from fastrbm.flows import MLP, Affine, Coupling
    >>> Coupling([True, False], Affine(), MLP(1, [8], 2, rng=0))
    Coupling('10', Affine(), widths=[8])
    """

    def __init__(self, mask, map, conditioner):
        _check_map(map)
        mask = validation.real_array("mask", mask)
        if mask.dtype != bool or mask.ndim != 1:
            raise ValueError(f"mask must be a row of bools, got {mask.dtype} of shape {mask.shape}")
        n_kept = int(mask.sum())
        n_moved = len(mask) - n_kept
        check_conditioner(conditioner, MLP)
        if conditioner.n_in < n_kept or conditioner.n_out != map.n_raw * n_moved:
            raise ValueError(
                f"conditioner must take {n_kept} entries and the context and give "
                f"{map.n_raw * n_moved} numbers, got {conditioner.n_in} and {conditioner.n_out}"
            )
        super().__init__(len(mask), conditioner.n_in - n_kept)
        self.mask, self.map, self.conditioner = mask, map, conditioner
        self.kept, self.moved, self.n_kept, self.n_moved = (
            _columns(mask),
            _columns(~mask),
            n_kept,
            n_moved,
        )
        self.children = {"map": map, "conditioner": conditioner}
        self.dtype = conditioner.dtype

    @property
    def config(self):
        """mask, map and conditioner."""
        return {"mask": self.mask.tolist(), "map": self.map, "conditioner": self.conditioner}

    def __repr__(self):
        bits = "".join("01"[int(stays)] for stays in self.mask)
        shown = bits if self.dim <= 16 else f"{bits[:16]}...({self.dim})"
        return (
            f"Coupling({shown!r}, {self.map!r}, widths={self.conditioner.widths}{_context(self)})"
        )

    def _apply(self, apply, x, context):
        raw, memory = self.conditioner._forward(_join(x[:, self.kept], context), len(x))
        raw = raw.reshape(len(x), self.map.n_raw, self.n_moved)
        moved, log_slope, tape = apply(x[:, self.moved], raw)
        y = np.empty_like(x)
        y[:, self.kept], y[:, self.moved] = x[:, self.kept], moved
        return y, log_slope.sum(axis=1), (tape, memory)

    def _back(self, back, tape, g, s):
        moved, graw = back(tape[0], g[:, self.moved], s[:, None])
        inputs, grads = self.conditioner._vjp(tape[1], graw.reshape(len(g), self.conditioner.n_out))
        total = np.empty_like(g)
        np.add(g[:, self.kept], inputs[:, : self.n_kept], out=inputs[:, : self.n_kept])
        total[:, self.kept], total[:, self.moved] = inputs[:, : self.n_kept], moved
        return total, inputs[:, self.n_kept :] if self.context_dim else None, grads


class Autoregressive(Bijection):
    """Each entry is moved by what the entries before it say.

    `forward` is one pass through MADE for all entries at once. `inverse` finds the entries in
    turn, each hidden unit computed once (made.py): the arithmetic of one pass too, in dim steps.

    Parameters
    ----------
    map : Univariate
    made : MADE
        With map.n_raw outputs for each entry.

    Examples
    --------
    >>> from fastrbm.flows import MADE, Affine, Autoregressive
    >>> Autoregressive(Affine(), MADE(3, [8], 2, rng=0))
    Autoregressive(3, Affine(), widths=[8])
    """

    def __init__(self, map, made):
        _check_map(map)
        if not isinstance(made, MADE):
            raise TypeError(f"made must be a MADE, got {made!r}")
        if made.n_raw != map.n_raw:
            raise ValueError(f"made must have n_raw={map.n_raw}, got {made.n_raw}")
        super().__init__(made.dim, made.context_dim)
        self.map, self.made = map, made
        self.children = {"map": map, "made": made}
        self.dtype = made.dtype

    @property
    def config(self):
        """map and made."""
        return {"map": self.map, "made": self.made}

    def __repr__(self):
        widths = self.made.widths
        return f"Autoregressive({self.dim}, {self.map!r}, widths={widths}{_context(self)})"

    def _shape(self, raw):
        return raw.reshape(len(raw), self.map.n_raw, self.dim)

    def _forward(self, x, context):
        raw, memory = self.made._forward(_join(x, context), len(x))
        y, log_slope, tape = self.map.forward(x, self._shape(raw))
        return y, log_slope.sum(axis=1), (tape, memory)

    def _forward_vjp(self, tape, g, s):
        gx, graw = self.map.forward_vjp(tape[0], g, s[:, None])
        inputs, grads = self.made._vjp(tape[1], graw.reshape(len(g), self.made.n_out))
        gx += inputs[:, : self.dim]
        return gx, inputs[:, self.dim :] if self.context_dim else None, grads

    def _inverse(self, y, context):
        inside = self.map.inside(y)

        def solve(i, raw):
            return self.map.solve(y[:, i : i + 1], raw.T[:, :, None])[:, 0]

        x, raw, memory = self.made.sequential(context, len(y), solve)
        _, log_slope, tape = self.map.forward(x, self._shape(raw))
        log_det = -log_slope.sum(axis=1)
        if inside is not None:
            log_det = np.where(inside.all(axis=1), log_det, np.array(-np.inf, y.dtype))
        return x, log_det, (tape, memory)

    def _inverse_vjp(self, tape, g, s):
        """The pull-back of each entry in turn; what raw receives is linear in it."""
        tape, memory = tape
        s = np.broadcast_to(s[:, None], g.shape)
        by_w = self.map.raw_vjp(tape, np.ones_like(g), np.zeros_like(g))
        by_s = self.map.raw_vjp(tape, np.zeros_like(g), s)
        slope = np.broadcast_to(tape.slope, g.shape)
        bend = 0 if tape.curvature is None else s * tape.curvature
        g = g - bend
        pulled = np.empty_like(g)

        def pull(i, arrived):
            pulled[:, i] = arrived / slope[:, i]
            return -(by_w[:, :, i].T * pulled[:, i] + by_s[:, :, i].T)

        _, gcontext, grads = self.made.sequential_vjp(memory, g, pull)
        return pulled, gcontext, grads


def half_mask(dim):
    """Return the mask that keeps the first half of a row.

    Examples
    --------
    >>> from fastrbm.flows import half_mask
    >>> half_mask(4)
    array([ True,  True, False, False])
    """
    return np.arange(validation.integer("dim", dim, 1)) < dim // 2


def checkerboard_mask(dim, shape=None):
    """Return the mask that keeps every other entry, of a row or of an array flattened to it.

    Parameters
    ----------
    dim : int
    shape : sequence of int, optional
        Of the array that a row holds, (dim,) by default. Neighbours along every axis differ.

    Examples
    --------
    >>> from fastrbm.flows import checkerboard_mask
    >>> checkerboard_mask(6, (2, 3)).astype(int).reshape(2, 3)
    array([[1, 0, 1],
           [0, 1, 0]])
    """
    validation.integer("dim", dim, 1)
    if not isinstance(shape, (list, tuple, type(None))):
        raise TypeError(f"shape must be a list of integers, got {shape!r}")
    shape = (dim,) if shape is None else tuple(shape)
    if int(np.prod(shape)) != dim:
        raise ValueError(f"shape must have {dim} entries, got {shape}")
    return (np.indices(shape).sum(axis=0) % 2 == 0).reshape(-1)


def _check_map(map):
    if not isinstance(map, Univariate):
        raise TypeError(f"map must be a univariate map, got {map!r}")


def _context(bijection):
    return f", context_dim={bijection.context_dim}" if bijection.context_dim else ""


def _join(x, context):
    return x if context is None else np.concatenate([x, context], axis=1)


def _columns(mask):
    """The columns where mask is True: a slice, which copies nothing, where evenly spaced."""
    index = np.flatnonzero(mask)
    steps = set(np.diff(index).tolist())
    if len(index) and len(steps) <= 1:
        return slice(int(index[0]), int(index[-1]) + 1, steps.pop() if steps else 1)
    return index

"""The contract of a bijection, and the two ways to make one from others: `Chain` and `Invert`.

Change of variables: if x = f(z) and z has density p, then log q(x) = log p(z) - log|det df/dz|.
`forward` maps z to x as in the slides and `inverse` back; both also give log|det| of the map that
they applied, so that the two sum to zero. D. Rezende, S. Mohamed, "Variational Inference with
Normalizing Flows", ICML 2015, eqs. 5 to 7; G. Papamakarios et al., "Normalizing Flows for
Probabilistic Modeling and Inference", JMLR 22 (2021), section 2.

**Gradients.** A loss L of (y, log_det) has cotangents g = dL/dy and s = dL/dlog_det. `backward`
gives dL/dx, dL/dcontext and dL/dparameters from them. A subclass writes four methods, on rows that
are checked and of its dtype:

    _forward(x, context) -> y, log_det, tape        _forward_vjp(tape, g, s) -> dx, dcontext, grads
    _inverse(y, context) -> x, log_det, tape        _inverse_vjp(tape, g, s) -> dy, dcontext, grads

`grads` is a list in the order of `parameters`; dcontext is None where context is. The tape is what
the method likes to remember. No method changes its inputs or the module.

**Inverses without a formula** are differentiated implicitly. With x = f^-1(y), log_det = -l(x), l
that of `forward`: let h = g - s dl/dx be all that arrives at x. Then dy = w with J^T w = h, and
the parameters receive -(df/dtheta)^T w - s dl/dtheta: the backward pass of `forward` at x, with
cotangents (-w, -s).

**Outside the range** of a map there is nothing to return: log_det is -inf there, `_inverse` goes
on with some point inside, and the public methods replace it by NaN.
"""

import numpy as np

from .. import validation
from .module import Module, to_dtype
from .team import on_threads, team


class Tape:
    """What `Bijection.forward_tape` and `inverse_tape` remember for `backward`."""

    def __init__(self, bijection, inverse, shape, memory):
        self.bijection, self.inverse, self.shape, self.memory = bijection, inverse, shape, memory


class Bijection(Module):
    """An invertible map of R^dim, or from and onto a part of it, with its log-determinant.

    Parameters
    ----------
    dim : int
        Length of a row.
    context_dim : int
        Length of a row of the context that the map depends on; 0 for none.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import flows
    >>> tanh = flows.Elementwise(2, flows.Tanh())
    >>> y, log_det = tanh.forward(np.array([[0.0, 1.0]]))
    >>> x, back = tanh.inverse(y)
    >>> np.allclose(x, [[0.0, 1.0]]), np.allclose(log_det + back, 0)
    (True, True)
    """

    def __init__(self, dim, context_dim=0):
        super().__init__()
        self.dim = validation.integer("dim", dim, 1)
        self.context_dim = validation.integer("context_dim", context_dim, 0)

    def forward(self, x, *, context=None):
        """Return y = f(x) and log|det df/dx|.

        Parameters
        ----------
        x : array_like (n, dim) or (dim,)
        context : array_like (n, context_dim) or (context_dim,), optional
            Required if and only if context_dim > 0; one row serves all.

        Returns
        -------
        y : ndarray like x
        log_det : ndarray (n,) or scalar
            Natural logarithm, -inf (and y NaN) outside the domain.

        Examples
        --------
        >>> from fastrbm import flows
        >>> flows.Permutation([1, 0]).forward([[1.0, 2.0]])
        (array([[2., 1.]]), array([0.]))
        """
        return self.forward_tape(x, context=context)[:2]

    def inverse(self, y, *, context=None):
        """Return x = f^-1(y) and log|det df^-1/dy|, shapes as in `forward`.

        Raises
        ------
        ConvergenceError
            If the inverse is numeric and did not converge.

        Examples
        --------
        >>> from fastrbm import flows
        >>> flows.Elementwise(1, flows.Exp()).inverse([[1.0], [-1.0]])
        (array([[ 0.],
               [nan]]), array([  0., -inf]))
        """
        return self.inverse_tape(y, context=context)[:2]

    def forward_tape(self, x, *, context=None):
        """As `forward`, with a third result for `backward`."""
        return self._run(False, "x", x, context)

    def inverse_tape(self, y, *, context=None):
        """As `inverse`, with a third result for `backward`."""
        return self._run(True, "y", y, context)

    def _run(self, inverse, name, x, context):
        x, single = rows(name, x, self.dim, self.dtype)
        context = context_rows(context, self.context_dim, len(x), self.dtype)
        self.check_finite()
        with team(1, self, len(x)):
            y, log_det, memory = (self._inverse if inverse else self._forward)(x, context)
        y = mark_outside(y, log_det)
        tape = Tape(self, inverse, y.shape[single:], memory)
        return (y[0], log_det[0], tape) if single else (y, log_det, tape)

    def _adapt(self, x, context, inverse):
        """Show the layer the training set; return what it makes of it, and log|det| of that.

        Layers that take numbers from data (normalization.py) do so here, before they answer.
        """
        run = self._inverse if inverse else self._forward
        image, log_det = np.empty_like(x), np.empty(len(x), x.dtype)

        def work(block):
            part = None if context is None else context[block]
            image[block], log_det[block], _ = run(x[block], part)

        on_threads(work, len(x), module=self)
        return image, log_det

    def backward(self, tape, grad, grad_log_det):
        """Return the vector-Jacobian products of a recorded call.

        Parameters
        ----------
        tape : Tape
            Third result of `forward_tape` or `inverse_tape`; it may be used more than once.
        grad : array_like
            dL/d(first result), of its shape.
        grad_log_det : array_like
            dL/d(log_det), of its shape; one number serves all rows.

        Returns
        -------
        grad_input : ndarray (n, dim) or (dim,)
        grad_context : ndarray (n, context_dim) or (context_dim,) or None
            One row for each row of the input, also where one context served all.
        grad_parameters : dict of ndarray
            By the names of `parameters`, summed over rows.

        Examples
        --------
        >>> import numpy as np
        >>> from fastrbm import flows
        >>> layer = flows.LULinear(2)
        >>> y, log_det, tape = layer.forward_tape([[1.0, 2.0]])
        >>> grad_x, _, grads = layer.backward(tape, np.ones((1, 2)), 0.0)
        >>> grad_x, grads["shift"]
        (array([[1., 1.]]), array([1., 1.]))
        """
        if tape.bijection is not self:
            raise ValueError("tape must come from this bijection, got one of another")
        grad = self._cotangent("grad", grad, tape.shape).reshape(-1, self.dim)
        if np.ndim(grad_log_det) == 0:
            grad_log_det = np.full(
                tape.shape[:-1], self._cotangent("grad_log_det", grad_log_det, ())
            )
        grad_log_det = self._cotangent("grad_log_det", grad_log_det, tape.shape[:-1]).reshape(-1)
        vjp = self._inverse_vjp if tape.inverse else self._forward_vjp
        with team(1, self, len(grad)):
            grad, grad_context, grads = vjp(tape.memory, grad, grad_log_det)
        if len(tape.shape) == 1:
            grad, grad_context = grad[0], None if grad_context is None else grad_context[0]
        return grad, grad_context, dict(zip(self.parameters, grads, strict=True))

    def _cotangent(self, name, value, shape):
        value = validation.real_array(name, value)
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {value.shape}")
        return validation.finite(name, to_dtype(value, self.dtype).reshape(shape))


class Chain(Bijection):
    """Bijections one after the other: forward applies the first first.

    The log-determinants add: log|det df/dz| = sum_k log|det df_k/dz_{k-1}| (Rezende & Mohamed
    2015, eq. 7).

    Parameters
    ----------
    layers : sequence of Bijection
        Of one dim and one dtype; context_dim is 0 or one common number.

    Examples
    --------
    >>> from fastrbm import flows
    >>> flows.Chain([flows.Permutation([1, 0]), flows.Permutation([1, 0])]).forward([1.0, 2.0])
    (array([1., 2.]), np.float64(0.0))
    """

    def __init__(self, layers):
        self.layers = list(layers) if isinstance(layers, (list, tuple)) else []
        if not self.layers or not all(isinstance(layer, Bijection) for layer in self.layers):
            raise TypeError(f"layers must be a list of bijections, got {layers!r}")
        dims = [layer.dim for layer in self.layers]
        contexts = {layer.context_dim for layer in self.layers} - {0}
        types = {layer.dtype for layer in self.layers}
        if len(set(dims)) > 1 or len(contexts) > 1 or len(types) > 1:
            raise ValueError(
                f"layers must have one dim, one context_dim and one dtype, got dims {dims}, "
                f"context_dims {sorted(contexts)}, dtypes {sorted(map(str, types))}"
            )
        parts = [part for layer in self.layers for part in layer.modules()]
        parts = [part for part in parts if part.own_parameters or part.own_state]
        if len(set(map(id, parts))) < len(parts):
            raise ValueError("layers must be distinct objects: one object would be trained twice")
        super().__init__(dims[0], max(contexts, default=0))
        self.children = {str(index): layer for index, layer in enumerate(self.layers)}
        self.dtype = self.layers[0].dtype

    @property
    def config(self):
        """The layers."""
        return {"layers": self.layers}

    def __repr__(self):
        lines = (f"    {layer!r},\n" for layer in self.layers)
        inner = "".join(line.replace("\n    ", "\n        ") for line in lines)
        return f"Chain([\n{inner}])"

    def _forward(self, x, context):
        return self._sweep("_forward", self.layers, x, context)

    def _inverse(self, y, context):
        return self._sweep("_inverse", reversed(self.layers), y, context)

    @staticmethod
    def _sweep(method, layers, x, context):
        total, tapes = np.zeros(len(x), x.dtype), []
        for layer in layers:
            x, log_det, tape = getattr(layer, method)(x, context if layer.context_dim else None)
            total = total + log_det
            tapes.append(tape)
        return x, total, tapes

    def _adapt(self, x, context, inverse):
        total = np.zeros(len(x), x.dtype)
        for layer in reversed(self.layers) if inverse else self.layers:
            x, log_det = layer._adapt(x, context if layer.context_dim else None, inverse)
            total += log_det
        return x, total

    def _forward_vjp(self, tapes, g, s):
        return self._sweep_back("_forward_vjp", reversed(self.layers), tapes, g, s)

    def _inverse_vjp(self, tapes, g, s):
        return self._sweep_back("_inverse_vjp", self.layers, tapes, g, s)

    def _sweep_back(self, method, layers, tapes, g, s):
        grad_context, grads = None, {}
        for layer, tape in zip(layers, reversed(tapes), strict=True):
            g, part, grads[id(layer)] = getattr(layer, method)(tape, g, s)
            if part is not None:
                grad_context = part if grad_context is None else grad_context + part
        return g, grad_context, [a for layer in self.layers for a in grads[id(layer)]]


class Invert(Bijection):
    """A bijection with forward and inverse exchanged.

    Which direction is cheap goes with it: MAF is the inverse of an autoregressive map and IAF
    the map itself.

    Parameters
    ----------
    bijection : Bijection

    Examples
    --------
    >>> from fastrbm import flows
    >>> log = flows.Invert(flows.Elementwise(1, flows.Exp()))
    >>> log.forward([[1.0]])
    (array([[0.]]), array([0.]))
    """

    def __new__(cls, bijection=None):
        if isinstance(bijection, Invert):  # Invert(Invert(f)) is f itself
            return bijection.bijection
        return super().__new__(cls)

    def __init__(self, bijection):
        if not isinstance(bijection, Bijection):
            raise TypeError(f"bijection must be a Bijection, got {bijection!r}")
        super().__init__(bijection.dim, bijection.context_dim)
        self.bijection = bijection
        self.children = {"inverse": bijection}
        self.dtype = bijection.dtype

    @property
    def config(self):
        """The bijection."""
        return {"bijection": self.bijection}

    def __repr__(self):
        return f"Invert({self.bijection!r})"

    def _forward(self, x, context):
        return self.bijection._inverse(x, context)

    def _inverse(self, y, context):
        return self.bijection._forward(y, context)

    def _adapt(self, x, context, inverse):
        return self.bijection._adapt(x, context, not inverse)

    def _forward_vjp(self, tape, g, s):
        return self.bijection._inverse_vjp(tape, g, s)

    def _inverse_vjp(self, tape, g, s):
        return self.bijection._forward_vjp(tape, g, s)


def rows(name, value, dim, dtype):
    """Return `value` as finite rows (n, dim) of `dtype`, and whether it was one row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows.bijection import rows
    >>> rows("x", [1, 2], 2, np.float64)
    (array([[1., 2.]]), True)
    """
    array, single = validation.rows(name, value, dim)
    return validation.finite(name, to_dtype(array, dtype)), single


def context_rows(context, context_dim, n_rows, dtype, name="context"):
    """Return `context` as (n_rows, context_dim), or None where there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows.bijection import context_rows
    >>> context_rows([1.0], 1, 2, np.float64)
    array([[1.],
           [1.]])
    >>> context_rows([1.0], 0, 2, np.float64)
    Traceback (most recent call last):
    ValueError: context must be left out: this flow has context_dim=0
    """
    if context_dim == 0:
        if context is not None:
            raise ValueError(f"{name} must be left out: this flow has context_dim=0")
        return None
    if context is None:
        raise ValueError(f"{name} must be given: this flow has context_dim={context_dim}")
    array, single = rows(name, context, context_dim, dtype)
    if single:
        return np.broadcast_to(array, (n_rows, context_dim))
    if len(array) != n_rows:
        raise ValueError(f"{name} must have {n_rows} rows, one for each row, got {len(array)}")
    return array


def mark_outside(y, log_det):
    """Return y with NaN in the rows that log_det says are outside the range of a map."""
    outside = log_det == -np.inf
    return np.where(outside[:, None], np.array(np.nan, y.dtype), y) if outside.any() else y

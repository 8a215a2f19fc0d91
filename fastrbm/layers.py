"""Layers of units: named parameters, shapes and checks; every formula is in csrc/fastrbm/layers.

A layer is n units of one type with a log-weight a(v); given input x, a unit follows
p(v) ~ exp(beta [a(v) + x v]). The protocol is the same for every type and works per unit over any
leading axes: `log_weight`, `cgf`, `mean`, `variance`, `sample`, `n`, `parameters`. A new unit type
is a row of the C table and a class here that names its parameters.
"""

from typing import ClassVar

import numpy as np

from . import _lib, random, validation
from ._lib import core


class Layer:
    """What all unit types share; use `Bernoulli`, `Spin` or `Gaussian`.

    A subclass names its unit type in `unit`, its parameters with their defaults in `defaults`, and
    says with `bounded` whether its states lie in a finite interval. A parameter whose name starts
    with "precision" must be positive and is never trained.

    Examples
    --------
    >>> import fastrbm
    >>> isinstance(fastrbm.Spin(3), fastrbm.layers.Layer)
    True
    """

    __slots__ = ("__weakref__", "_core", "_guard", "_parameters")

    unit = ""
    defaults: ClassVar[dict] = {}
    bounded = True

    def __init__(self, n, **parameters):
        n = validation.integer("n", n, 1)
        given = {name: validation.real_array(name, parameters[name]) for name in self.defaults}
        dtype = _common_dtype(array for array in given.values() if array.ndim)
        self._parameters = {name: _parameter(name, given[name], n, dtype) for name in given}
        self._guard = None
        self._core = core.Layer(self.unit, tuple(self._parameters.values()))

    @property
    def n(self):
        """int: The number of units."""
        return self._core.n

    @property
    def dtype(self):
        """numpy.dtype: float32 or float64, of every parameter."""
        return next(iter(self._parameters.values())).dtype

    @property
    def discrete(self):
        """bool: Whether the states are a few integers rather than reals."""
        return self._core.discrete

    @property
    def parameters(self):
        """dict of ndarray: The parameters by name, each (n,), writable in place."""
        return dict(self._parameters)

    def _set(self, name, value):
        """Copy checked values into the parameter's memory, which C goes on looking at."""
        mine = self._parameters[name]
        value = _parameter(name, validation.real_array(name, value), self.n, self.dtype)
        if self._guard is None:
            mine[...] = value
            return
        before = mine.copy()
        mine[...] = value
        try:
            self._guard()  # the RBM may find that the pair cannot be normalised any more
        except ValueError:
            mine[...] = before
            raise

    def log_weight(self, states):
        """Return the log-weight a(v) of each unit's state.

        Parameters
        ----------
        states : array_like (..., n)
            States of the units; anything else is a ValueError.

        Returns
        -------
        ndarray (..., n), float64

        Examples
        --------
        >>> import fastrbm
        >>> fastrbm.Gaussian(2, bias=1.0, precision=2.0).log_weight([0.0, 1.0]).tolist()
        [0.0, 0.0]
        """
        values = self.check_states("states", states)
        out = np.empty(values.shape)
        if out.size:
            self._core.log_weight(values.reshape(-1, self.n), out.reshape(-1, self.n))
        return out

    def check_states(self, name, states):
        """Return `states` (..., n) as float64 after refusing what is not a state of its unit.

        Parameters
        ----------
        name : str
            The argument, for the error.
        states : array_like (..., n)

        Returns
        -------
        ndarray (..., n), float64, C-contiguous

        Raises
        ------
        TypeError, ValueError
            For a wrong shape or a value that is not a state.

        Examples
        --------
        >>> import fastrbm
        >>> fastrbm.Bernoulli(2).check_states("v", [0, 2])
        Traceback (most recent call last):
        ValueError: v must hold 0 or 1 (bernoulli units), got 2 in row 0, column 1
        """
        array = validation.real_array(name, states)
        self._check_shape(name, array)
        values = np.ascontiguousarray(array, dtype=np.float64)
        allowed = core.unit_states(self.unit)
        strange = ~np.isfinite(values) if allowed is None else ~np.isin(values, allowed)
        if strange.any():
            row, column = np.argwhere(strange.reshape(-1, self.n))[0]
            value = values.reshape(-1, self.n)[row, column]
            error = core.StateError(0, "", row, column, value)
            raise validation.state_error(name, error, self, array)
        return values

    def cgf(self, x, *, beta=1.0):
        """Return the log of the one-unit partition function at input x.

        log of the sum (integral) over v of exp(beta [a(v) + x v]); its first derivative in x is
        beta mean(x), its second beta^2 variance(x).

        Parameters
        ----------
        x : array_like (..., n) or a number for all units
            Finite inputs.
        beta : float, default 1.0
            Multiplies the whole energy; >= 0 for discrete units, > 0 otherwise.

        Returns
        -------
        ndarray (..., n), float64, in nats

        Examples
        --------
        >>> import fastrbm
        >>> fastrbm.Bernoulli(2).cgf(0.0).round(6).tolist()
        [0.693147, 0.693147]
        """
        float64 = np.dtype(np.float64)
        return self._of_inputs(self._core.cgf, x, beta, float64, float64)

    def mean(self, x, *, beta=1.0):
        """Return the mean of each unit at input x.

        Parameters
        ----------
        x : array_like (..., n) or a number for all units
            Finite inputs.
        beta : float, default 1.0
            Multiplies the whole energy; >= 0 for discrete units, > 0 otherwise.

        Returns
        -------
        ndarray (..., n), dtype of the layer

        Examples
        --------
        >>> import fastrbm
        >>> fastrbm.Gaussian(2, precision=2.0).mean([1.0, -1.0]).tolist()
        [0.5, -0.5]
        """
        return self._of_inputs(self._core.mean, x, beta, self.dtype, self.dtype)

    def variance(self, x, *, beta=1.0):
        """Return the variance of each unit at input x.

        Parameters
        ----------
        x : array_like (..., n) or a number for all units
            Finite inputs.
        beta : float, default 1.0
            Multiplies the whole energy; >= 0 for discrete units, > 0 otherwise.

        Returns
        -------
        ndarray (..., n), dtype of the layer

        Examples
        --------
        >>> import fastrbm
        >>> fastrbm.Spin(2).variance(0.0).tolist()
        [1.0, 1.0]
        """
        float64 = np.dtype(np.float64)

        def variance(executor, inputs, beta, out):
            self._core.variance(inputs, beta, out)

        wide = self._of_inputs(variance, x, beta, float64, float64)
        return wide.astype(self.dtype, copy=False)

    def sample(self, x, rng=None, *, beta=1.0, dtype=None):
        """Draw a state of each unit at input x.

        Parameters
        ----------
        x : array_like (..., n) or a number for all units
            Finite inputs.
        rng : None, int, SeedSequence, BitGenerator or Generator
            An int repeats, a Generator advances.
        beta : float, default 1.0
            Multiplies the whole energy; >= 0 for discrete units, > 0 otherwise.
        dtype : dtype, optional
            The layer's dtype, or int8 for discrete units.

        Returns
        -------
        ndarray (..., n)

        Examples
        --------
        >>> import fastrbm
        >>> fastrbm.Spin(3).sample([-40.0, 40.0, 40.0], rng=1, dtype="int8").tolist()
        [-1, 1, 1]
        """
        key = random.key(rng)
        dtype = validation.state_dtype(dtype, self.discrete, self.dtype)

        def draw(executor, inputs, beta, out):
            self._core.sample(executor, inputs, beta, key, out)

        return self._of_inputs(draw, x, beta, self.dtype, dtype)

    def _of_inputs(self, function, x, beta, in_dtype, out_dtype):
        """Apply a C function (executor, inputs, beta, out) to inputs of any leading shape."""
        beta = validation.beta(beta, zero_allowed=self.discrete)
        array = validation.real_array("x", x)
        if array.ndim == 0:
            array = np.broadcast_to(array, (self.n,))
        self._check_shape("x", array)
        with np.errstate(over="ignore"):  # what overflows float32 is refused as infinite
            inputs = validation.finite("x", np.ascontiguousarray(array, dtype=in_dtype))
        out = np.empty(array.shape, out_dtype)
        if out.size:
            flat, flat_out = inputs.reshape(-1, self.n), out.reshape(-1, self.n)
            function(_lib.executor(), flat, beta, flat_out)
        return out

    def _check_shape(self, name, array):
        if array.shape[-1:] != (self.n,):
            raise ValueError(f"{name} must have shape (..., {self.n}), got {array.shape}")

    def copy(self):
        """Return an independent layer with the same parameters.

        Examples
        --------
        >>> import fastrbm
        >>> layer = fastrbm.Spin(2, bias=[1.0, 2.0])
        >>> layer.copy() == layer, layer.copy() is layer
        (True, False)
        """
        return self.astype(self.dtype)

    def astype(self, dtype):
        """Return an independent layer with its parameters in `dtype`, float32 or float64.

        Examples
        --------
        >>> import fastrbm
        >>> fastrbm.Spin(2).astype("float32").dtype
        dtype('float32')
        """
        dtype = validation.model_dtype("dtype", dtype)
        parameters = {name: array.astype(dtype) for name, array in self._parameters.items()}
        return type(self)(self.n, **parameters)

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return _rebuild, (type(self), self.n, self._parameters)

    def __eq__(self, other):
        if not isinstance(other, Layer):
            return NotImplemented
        return (
            type(self) is type(other)
            and self.n == other.n
            and self.dtype == other.dtype
            and all(
                np.array_equal(mine, theirs)
                for mine, theirs in zip(
                    self._parameters.values(), other._parameters.values(), strict=True
                )
            )
        )

    __hash__ = None

    def __repr__(self):
        words = [str(self.n)]
        for name, array in self._parameters.items():
            low, high = float(array.min()), float(array.max())
            if low != high:
                words.append(f"{name}={low:.4g}..{high:.4g}")
            elif low != self.defaults[name]:
                words.append(f"{name}={low:.4g}")
        return f"{type(self).__name__}({', '.join(words)})"


def _rebuild(kind, n, parameters):
    """Build a layer from its pickled parts."""
    return kind(n, **parameters)


def _common_dtype(arrays):
    """Return float32 if every array is float32, else float64."""
    dtypes = {array.dtype for array in arrays}
    return np.dtype(np.float32) if dtypes == {np.dtype(np.float32)} else np.dtype(np.float64)


def _parameter(name, value, n, dtype):
    """Return a fresh contiguous (n,) array of a finite, where needed positive, parameter."""
    if value.shape not in ((), (n,)):
        raise ValueError(f"{name} must be a number or have shape ({n},), got shape {value.shape}")
    with np.errstate(over="ignore"):
        array = np.full(n, value, dtype=dtype)
    validation.finite(name, array)
    if name.startswith("precision") and not (array > 0).all():
        raise ValueError(f"{name} must be positive, got {array.min()}")
    return array


def _parameter_property(name, text):
    """Return a property that reads the live array and assigns by checked copy."""
    return property(
        lambda self: self._parameters[name],
        lambda self, value: self._set(name, value),
        doc=text,
    )


class Bernoulli(Layer):
    """Units with states 0 and 1 and log-weight ``bias v``: p(1) = sigmoid(beta (bias + x)).

    Parameters
    ----------
    n : int
        The number of units.
    bias : array_like (n,) or float, default 0
        Kept as float32 or float64, anything else becomes float64; copied.

    Raises
    ------
    TypeError, ValueError
        For a wrong shape, or values that are not finite.

    Examples
    --------
    >>> from fastrbm import Bernoulli
    >>> layer = Bernoulli(3, bias=[0.0, 40.0, -40.0])
    >>> layer.mean(0.0).round(6).tolist()
    [0.5, 1.0, 0.0]
    """

    __slots__ = ()
    unit = "bernoulli"
    defaults: ClassVar[dict] = {"bias": 0.0}

    def __init__(self, n, *, bias=0):
        super().__init__(n, bias=bias)

    bias = _parameter_property("bias", "ndarray (n,): log-odds of state 1 at input 0.")


class Spin(Layer):
    """Units with states -1 and +1 and log-weight ``bias s``: p(+1) = sigmoid(2 beta (bias + x)).

    Parameters
    ----------
    n : int
        The number of units.
    bias : array_like (n,) or float, default 0
        The external field. Kept as float32 or float64, anything else becomes float64; copied.

    Raises
    ------
    TypeError, ValueError
        For a wrong shape, or values that are not finite.

    Examples
    --------
    >>> from fastrbm import Spin
    >>> Spin(3).mean([0.0, 40.0, -40.0]).tolist()
    [0.0, 1.0, -1.0]
    """

    __slots__ = ()
    unit = "spin"
    defaults: ClassVar[dict] = {"bias": 0.0}

    def __init__(self, n, *, bias=0):
        super().__init__(n, bias=bias)

    bias = _parameter_property("bias", "ndarray (n,): half the log-odds of state +1 at input 0.")


class Gaussian(Layer):
    """Real units with log-weight ``bias h - precision h^2 / 2``.

    Given input x a unit follows N((bias + x) / precision, 1 / (beta precision)).

    Parameters
    ----------
    n : int
        The number of units.
    bias : array_like (n,) or float, default 0
    precision : array_like (n,) or float, default 1
        Positive; training does not move it.

    Raises
    ------
    TypeError, ValueError
        For a wrong shape, values that are not finite, or a precision that is not positive.

    Examples
    --------
    >>> from fastrbm import Gaussian
    >>> layer = Gaussian(2, bias=1.0, precision=[1.0, 4.0])
    >>> layer.mean(0.0).tolist(), layer.variance(0.0).tolist()
    ([1.0, 0.25], [1.0, 0.25])
    """

    __slots__ = ()
    unit = "gaussian"
    defaults: ClassVar[dict] = {"bias": 0.0, "precision": 1.0}
    bounded = False

    def __init__(self, n, *, bias=0, precision=1):
        super().__init__(n, bias=bias, precision=precision)

    bias = _parameter_property("bias", "ndarray (n,): precision times the mean at input 0.")
    precision = _parameter_property("precision", "ndarray (n,): inverse variance at beta 1.")


#: Unit types by the name that `train_cd`, files and byte blocks use.
LAYERS = {kind.unit: kind for kind in (Bernoulli, Spin, Gaussian)}

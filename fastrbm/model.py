"""The RBM: two layers and the weights between them; every formula is in csrc/fastrbm/rbm.

    E(v, h) = - sum_{i,mu} v_i W_{i,mu} h_mu - sum_i a_i(v_i) - sum_mu b_mu(h_mu)

with a_i and b_mu the log-weights of the units and p(v, h) = exp(-E(v, h)) / Z. C looks at the
memory of the parameters for the whole life of an RBM, so that changes in place are seen at once.
"""

import numpy as np

from . import _lib, io, random, validation
from ._lib import core
from .errors import FileFormatError
from .layers import LAYERS, Layer

#: Standard deviation of the small random weights that an RBM starts from.
WEIGHT_SCALE = 0.01


class RBM:
    """A restricted Boltzmann machine of any two layers that can be normalised.

    Parameters
    ----------
    visible, hidden : Layer
        Copied; ``rbm.visible`` and ``rbm.hidden`` are the RBM's own.
    weights : array_like (visible.n, hidden.n), optional
        Copied. Without them N(0, 0.01^2) is drawn.
    dtype : {float32, float64}, optional
        Of weights and parameters, and of samples and means. By default that of the weights if
        they are float32 or float64, float64 for other weights, float32 where none are given.
    rng : None, int, SeedSequence, BitGenerator or Generator
        For weights that are not given.

    Raises
    ------
    TypeError, ValueError
        For wrong shapes, values that are not finite, and two continuous layers whose joint
        precision is not positive definite.

    Notes
    -----
    Methods take rows (n_samples, n_units) or one row (n_units,), of any real dtype, and answer in
    kind. `beta` multiplies the whole energy, biases and precisions included.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import RBM, Spin, Gaussian
    >>> rbm = RBM(Spin(3), Gaussian(1), weights=[[1.0], [1.0], [-1.0]])
    >>> rbm
    RBM(Spin(3), Gaussian(1), dtype=float64)
    >>> rbm.mean_hidden([1, 1, 1]).tolist()
    [1.0]
    >>> rbm.sample_visible([40.0], rng=0).tolist()
    [1.0, 1.0, -1.0]
    """

    __slots__ = ("__weakref__", "_both_discrete", "_core", "_hidden", "_visible", "_weights")

    def __init__(self, visible, hidden, *, weights=None, dtype=None, rng=None):
        key = random.key(rng) if weights is None else None
        for name, layer in (("visible", visible), ("hidden", hidden)):
            if not isinstance(layer, Layer):
                raise TypeError(f"{name} must be a layer such as Spin(10), got {layer!r}")
        shape = (visible.n, hidden.n)
        if weights is None:
            dtype = validation.model_dtype("dtype", np.float32 if dtype is None else dtype)
            weights = random_weights(key, shape, dtype)
        else:
            weights = validation.real_array("weights", weights)
            if dtype is None:
                dtype = weights.dtype if weights.dtype.kind == "f" else np.float64
            dtype = validation.model_dtype("dtype", dtype)
            weights = _checked_weights(weights, shape, dtype)
        self._visible = visible.astype(dtype)
        self._hidden = hidden.astype(dtype)
        self._weights = weights
        self._both_discrete = visible.discrete and hidden.discrete
        self._core = core.Rbm(self._visible._core, self._hidden._core, weights)
        if not (visible.discrete or hidden.discrete):
            self.check_normalisable()
            self._visible._guard = self._hidden._guard = self.check_normalisable

    @property
    def visible(self):
        """Layer: The RBM's own visible layer; its parameters may be changed in place."""
        return self._visible

    @property
    def hidden(self):
        """Layer: The RBM's own hidden layer; its parameters may be changed in place."""
        return self._hidden

    @property
    def n_visible(self):
        """int: The number of visible units."""
        return self._weights.shape[0]

    @property
    def n_hidden(self):
        """int: The number of hidden units."""
        return self._weights.shape[1]

    @property
    def dtype(self):
        """numpy.dtype: float32 or float64, of parameters, samples and means."""
        return self._weights.dtype

    @property
    def weights(self):
        """ndarray (n_visible, n_hidden): Writable in place; assigning checks and copies."""
        return self._weights

    @weights.setter
    def weights(self, value):
        value = validation.real_array("weights", value)
        value = _checked_weights(value, self._weights.shape, self.dtype)
        before = self._weights.copy()
        self._weights[...] = value
        try:
            self.check_normalisable()
        except ValueError:
            self._weights[...] = before
            raise

    def check_normalisable(self):
        """Raise unless all parameters are finite and the partition function is.

        Any pair with a discrete layer has one. Two continuous layers need a positive definite
        joint precision: with A = precision_v^(-1/2) W precision_h^(-1/2) the largest singular
        value of A must be below 1.

        Raises
        ------
        ValueError
            If one of them is not.

        Notes
        -----
        Checked when the RBM is built, when weights or layer parameters are assigned, before
        sampling, and after each training epoch. O(n m^2), n the larger layer, m the smaller.

        Examples
        --------
        >>> from fastrbm import RBM, Gaussian
        >>> RBM(Gaussian(1), Gaussian(1), weights=[[1.0]])
        Traceback (most recent call last):
        ValueError: two continuous layers need a positive definite joint precision: reduce the \
weights or raise the precisions
        """
        self._check_finite()
        if self._visible.discrete or self._hidden.discrete:
            return
        scaled = self._weights.astype(np.float64)
        scaled /= np.sqrt(self._visible.precision.astype(np.float64))[:, None]
        scaled /= np.sqrt(self._hidden.precision.astype(np.float64))
        gram = scaled.T @ scaled if self.n_hidden <= self.n_visible else scaled @ scaled.T
        # The margin covers the rounding of the product and of the factorisation.
        margin = 4 * np.finfo(np.float64).eps * sum(self._weights.shape)
        try:
            np.linalg.cholesky((1 - margin) * np.eye(len(gram)) - gram)
        except np.linalg.LinAlgError:
            raise ValueError(
                "two continuous layers need a positive definite joint precision: "
                "reduce the weights or raise the precisions"
            ) from None

    def _check_finite(self):
        if not self._core.is_finite():
            raise ValueError(
                "rbm has weights or parameters that are not finite, or a precision not above 0"
            )

    def energy(self, v, h):
        """Return the energy E(v, h) of joint states.

        Parameters
        ----------
        v : array_like (n_samples, n_visible) or (n_visible,)
        h : array_like (n_samples, n_hidden) or (n_hidden,)
            As many rows as `v`.

        Returns
        -------
        ndarray (n_samples,) or float64 for one row; in units of k_B T at beta = 1

        Raises
        ------
        ValueError
            For wrong shapes and for values that are not states of the units.

        Examples
        --------
        >>> from fastrbm import RBM, Bernoulli
        >>> rbm = RBM(Bernoulli(2, bias=[0.5, 0.0]), Bernoulli(1), weights=[[1.0], [2.0]])
        >>> rbm.energy([[1, 0], [1, 1]], [[1], [1]]).tolist()
        [-1.5, -3.5]
        """
        v, single = validation.rows("v", v, self.n_visible)
        h, single_h = validation.rows("h", h, self.n_hidden)
        if v.shape[0] != h.shape[0]:
            raise ValueError(
                f"v and h must have equally many rows, got {v.shape[0]} and {h.shape[0]}"
            )
        out = np.empty(v.shape[0])
        if out.size:
            try:
                self._core.energy(_lib.executor(), v, h, out)
            except core.StateError as error:
                raise self._joint_state_error(error, v, h) from None
        return out[0] if single and single_h else out

    def free_energy(self, v, *, beta=1.0):
        """Return F(v) = -log of the sum (integral) over h of exp(-beta E(v, h)).

        Parameters
        ----------
        v : array_like (n_samples, n_visible) or (n_visible,)
        beta : float, default 1.0
            Not divided out again: F is -log p(v) - log Z at this beta.

        Returns
        -------
        ndarray (n_samples,) or float64 for one row; nats

        Raises
        ------
        ValueError
            For wrong shapes and for values that are not states of the units.

        Examples
        --------
        >>> import numpy as np
        >>> from fastrbm import RBM, Bernoulli
        >>> rbm = RBM(Bernoulli(2), Bernoulli(1), weights=[[0.0], [0.0]])
        >>> bool(np.isclose(rbm.free_energy([1, 0]), -np.log(2)))
        True
        """
        beta = validation.beta(beta, self._both_discrete)
        given, single = validation.rows("v", v, self._visible.n)
        out = np.empty(given.shape[0])
        if out.size:
            try:
                self._core.free_energy(_lib.executor(), given, beta, out)
            except core.StateError as error:
                raise validation.state_error("v", error, self._visible, given) from None
        return out[0] if single else out

    def mean_hidden(self, v, *, beta=1.0):
        """Return E[h | v].

        Parameters
        ----------
        v : array_like (n_samples, n_visible) or (n_visible,)
        beta : float, default 1.0

        Returns
        -------
        ndarray (n_samples, n_hidden) or (n_hidden,), dtype of the model

        Raises
        ------
        ValueError
            For wrong shapes and for values that are not states of the units.

        Examples
        --------
        >>> from fastrbm import RBM, Spin, Gaussian
        >>> rbm = RBM(Spin(2), Gaussian(1), weights=[[0.5], [0.25]])
        >>> rbm.mean_hidden([[1, 1], [1, -1]]).tolist()
        [[0.75], [0.25]]
        """
        return self._mean("hidden", self._hidden, "v", self._visible, v, beta)

    def mean_visible(self, h, *, beta=1.0):
        """Return E[v | h].

        Parameters
        ----------
        h : array_like (n_samples, n_hidden) or (n_hidden,)
        beta : float, default 1.0

        Returns
        -------
        ndarray (n_samples, n_visible) or (n_visible,), dtype of the model

        Raises
        ------
        ValueError
            For wrong shapes and for values that are not states of the units.

        Examples
        --------
        >>> from fastrbm import RBM, Spin, Gaussian
        >>> rbm = RBM(Spin(2), Gaussian(1), weights=[[1.0], [-1.0]])
        >>> rbm.mean_visible([40.0]).tolist()
        [1.0, -1.0]
        """
        return self._mean("visible", self._visible, "h", self._hidden, h, beta)

    def sample_hidden(self, v, *, rng=None, beta=1.0, dtype=None):
        """Draw h from p(h | v), one row for each row of `v`.

        Parameters
        ----------
        v : array_like (n_samples, n_visible) or (n_visible,)
        rng : None, int, SeedSequence, BitGenerator or Generator
            An int repeats, a Generator advances.
        beta : float, default 1.0
        dtype : dtype, optional
            The model's dtype, or int8 for discrete units.

        Returns
        -------
        ndarray (n_samples, n_hidden) or (n_hidden,)

        Raises
        ------
        ValueError
            For wrong shapes and for values that are not states of the units.

        Examples
        --------
        >>> from fastrbm import RBM, Bernoulli
        >>> rbm = RBM(Bernoulli(2), Bernoulli(1), weights=[[40.0], [-80.0]])
        >>> rbm.sample_hidden([[1, 0], [1, 1]], rng=1, dtype="int8").tolist()
        [[1], [0]]
        """
        return self._sample("hidden", self._hidden, "v", self._visible, v, rng, beta, dtype)

    def sample_visible(self, h, *, rng=None, beta=1.0, dtype=None):
        """Draw v from p(v | h), one row for each row of `h`.

        Parameters
        ----------
        h : array_like (n_samples, n_hidden) or (n_hidden,)
        rng : None, int, SeedSequence, BitGenerator or Generator
            An int repeats, a Generator advances.
        beta : float, default 1.0
        dtype : dtype, optional
            The model's dtype, or int8 for discrete units.

        Returns
        -------
        ndarray (n_samples, n_visible) or (n_visible,)

        Raises
        ------
        ValueError
            For wrong shapes and for values that are not states of the units.

        Examples
        --------
        >>> from fastrbm import RBM, Spin, Gaussian
        >>> rbm = RBM(Spin(2), Gaussian(1), weights=[[1.0], [-1.0]])
        >>> rbm.sample_visible([[40.0], [-40.0]], rng=1, dtype="int8").tolist()
        [[1, -1], [-1, 1]]
        """
        return self._sample("visible", self._visible, "h", self._hidden, h, rng, beta, dtype)

    def _mean(self, side, layer, name, given_layer, given, beta):
        beta = validation.beta(beta, self._both_discrete)
        given, single = validation.rows(name, given, given_layer.n)
        out = np.empty((given.shape[0], layer.n), self._weights.dtype)
        if out.size:
            try:
                self._core.mean(_lib.executor(), side, given, beta, out)
            except core.StateError as error:
                raise validation.state_error(name, error, given_layer, given) from None
        return out[0] if single else out

    def _sample(self, side, layer, name, given_layer, given, rng, beta, dtype):
        key = random.key(rng)
        beta = validation.beta(beta, self._both_discrete)
        given, single = validation.rows(name, given, given_layer.n)
        own = self._weights.dtype
        if dtype is not None:
            own = validation.state_dtype(dtype, layer.discrete, own)
        out = np.empty((given.shape[0], layer.n), own)
        if out.size:
            try:
                self._core.sample(_lib.executor(), side, given, beta, key, out)
            except core.StateError as error:
                raise validation.state_error(name, error, given_layer, given) from None
        return out[0] if single else out

    def _joint_state_error(self, error, v, h):
        """Explain a wrong state in `v` or `h`; C does not say in which of the two."""
        self._visible.check_states("v", v)
        return validation.state_error("h", error, self._hidden, h)

    def save(self, path):
        """Write the model to `path`: an npz with a JSON header, no pickle, bits preserved.

        The file is replaced atomically: a crash leaves the old one or the new one, whole.

        Parameters
        ----------
        path : str or os.PathLike
            Taken as it is: no suffix is added.

        Raises
        ------
        OSError
            If the place cannot be written to.

        Examples
        --------
        >>> import os, tempfile
        >>> from fastrbm import RBM, Spin, Gaussian
        >>> rbm = RBM(Spin(3), Gaussian(2), rng=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "model.npz")
        ...     rbm.save(path)
        ...     RBM.load(path) == rbm
        True
        """
        self.check_normalisable()
        io.save(path, self._visible, self._hidden, self._weights)

    @classmethod
    def load(cls, path):
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike

        Returns
        -------
        RBM

        Raises
        ------
        OSError
            If the file cannot be opened.
        FileFormatError
            If it is foreign, truncated, damaged or too new.

        Examples
        --------
        >>> from fastrbm import RBM
        >>> RBM.load("no such file.npz")
        Traceback (most recent call last):
        FileNotFoundError: [Errno 2] No such file or directory: 'no such file.npz'
        """
        visible, hidden, weights = io.load(path)
        try:
            return cls(visible, hidden, weights=weights)
        except ValueError as error:
            raise FileFormatError(f"{str(path)!r} holds no valid model: {error}") from error

    def to_bytes(self):
        """Return the model as the one little-endian block that fastrbm.h describes.

        Returns
        -------
        bytes
            Read it with `from_bytes`, or in C with ``frbm_rbm_from_bytes``.

        Examples
        --------
        >>> from fastrbm import RBM, Spin, Gaussian
        >>> rbm = RBM(Spin(3), Gaussian(2), rng=1)
        >>> RBM.from_bytes(rbm.to_bytes()) == rbm
        True
        """
        self.check_normalisable()
        return self._core.to_bytes()

    @classmethod
    def from_bytes(cls, block):
        """Build a model from what `to_bytes` returned.

        Parameters
        ----------
        block : bytes, bytearray or memoryview

        Returns
        -------
        RBM

        Raises
        ------
        FileFormatError
            If the block is foreign, truncated, damaged or too new.

        Examples
        --------
        >>> from fastrbm import RBM, Spin, Gaussian
        >>> RBM.from_bytes(RBM(Spin(3), Gaussian(2)).to_bytes())
        RBM(Spin(3), Gaussian(2), dtype=float32)
        """
        if not isinstance(block, (bytes, bytearray, memoryview)):
            raise TypeError(f"block must be bytes, got {type(block).__name__}")
        block = bytes(block)
        try:
            *sides, weights = core.parse_bytes(block)
            layers = []
            for unit, parameters in sides:
                named = dict(zip(LAYERS[unit].defaults, parameters, strict=True))
                layers.append(LAYERS[unit](len(parameters[0]), **named))
            rbm = cls(*layers, weights=weights)
        except ValueError as error:
            raise FileFormatError(f"block is not a valid model: {error}") from error
        return rbm

    def copy(self):
        """Return an independent copy.

        Examples
        --------
        >>> from fastrbm import RBM, Spin, Gaussian
        >>> rbm = RBM(Spin(3), Gaussian(2), rng=1)
        >>> other = rbm.copy()
        >>> other.weights[0, 0] += 1
        >>> other == rbm
        False
        """
        return self.astype(self.dtype)

    def astype(self, dtype):
        """Return an independent copy in `dtype`, float32 or float64.

        Examples
        --------
        >>> from fastrbm import RBM, Spin, Gaussian
        >>> RBM(Spin(3), Gaussian(2)).astype("float64")
        RBM(Spin(3), Gaussian(2), dtype=float64)
        """
        return type(self)(self._visible, self._hidden, weights=self._weights, dtype=dtype)

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return type(self).from_bytes, (self.to_bytes(),)

    def __eq__(self, other):
        if not isinstance(other, RBM):
            return NotImplemented
        return (
            self.dtype == other.dtype
            and self._visible == other._visible
            and self._hidden == other._hidden
            and np.array_equal(self._weights, other._weights)
        )

    __hash__ = None

    def __repr__(self):
        return f"RBM({self._visible!r}, {self._hidden!r}, dtype={self.dtype})"


def random_weights(key, shape, dtype):
    """Return weights (n_visible, n_hidden) drawn from N(0, 0.01^2) by a 64-bit key.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.model import random_weights
    >>> weights = random_weights(7, (100, 50), np.dtype("float32"))
    >>> weights.shape, bool(abs(weights.std() - 0.01) < 0.001)
    ((100, 50), True)
    """
    weights = core.normals(key, core.purposes()["WEIGHTS"], shape[0] * shape[1], dtype)
    weights *= weights.dtype.type(WEIGHT_SCALE)
    return weights.reshape(shape)


def check_model(name, value):
    """Return `value` if it is an RBM.

    Examples
    --------
    >>> from fastrbm.model import check_model
    >>> check_model("rbm", 3)
    Traceback (most recent call last):
    TypeError: rbm must be an RBM, got 3
    """
    if isinstance(value, RBM):
        return value
    raise TypeError(f"{name} must be an RBM, got {value!r}")


def _checked_weights(weights, shape, dtype):
    """Return a fresh C-contiguous copy of finite weights of the right shape."""
    if weights.shape != shape:
        raise ValueError(
            f"weights must have shape (n_visible, n_hidden) = {shape}, got {weights.shape}"
        )
    with np.errstate(over="ignore"):  # what overflows float32 is refused as infinite
        return validation.finite("weights", np.array(weights, dtype=dtype, order="C"))

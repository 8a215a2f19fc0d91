"""Where training starts: what the data are, which layers fit them, and the first parameters.

Layers built from a name start from the data, since a visible bias that has to be learnt first
costs epochs (G. Hinton, "A practical guide to training restricted Boltzmann machines" (2010),
section 8). The start depends on key, data and layers only, not on the training method.
"""

import dataclasses

import numpy as np

from .. import _lib, validation
from .._lib import core
from ..layers import LAYERS, Bernoulli, Layer
from ..model import RBM, random_weights
from .settings import LeftOut

#: dtype of models that training builds.
DEFAULT_DTYPE = np.dtype(np.float32)


@dataclasses.dataclass
class Start:
    """A model to train on a data set.

    Attributes
    ----------
    rbm : RBM
        Not the caller's.
    probabilities : bool
        The data are probabilities of Bernoulli units, used as they are.
    frozen : frozenset of str
        Names of the parameters that do not move.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.training.settings import Settings
    >>> from fastrbm.training.start import prepare
    >>> start = prepare(np.array([[-1, 1], [1, 1]]), Settings(n_hidden=3).check(), key=1)
    >>> start.rbm, sorted(start.frozen)
    (RBM(Spin(2, bias=0..0.8047), Gaussian(3), dtype=float32), ['hidden_bias'])
    """

    rbm: RBM
    probabilities: bool
    frozen: frozenset


def prepare(data, settings, key, executor=None):
    """Return the `Start` for an array (n_samples, n_visible) and checked settings.

    Raises
    ------
    TypeError, ValueError
        If the data fit no unit type, or not the one that is asked; if `model` and the other
        arguments contradict each other; for an unknown name in `freeze`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.training.settings import Settings
    >>> from fastrbm.training.start import prepare
    >>> prepare(np.array([[0, 1], [0, 1]]), Settings(n_hidden=3).check(), key=1).rbm
    RBM(Bernoulli(2, bias=-1.609..1.609), Bernoulli(3), dtype=float32)
    """
    dtype = settings.dtype or (DEFAULT_DTYPE if settings.model is None else settings.model.dtype)
    executor = executor or _lib.executor(settings.n_threads)
    from_data = settings.model is None and not isinstance(settings.visible, Layer)
    scan = finite_scan("data", data, float(np.finfo(dtype).max), executor, sums=from_data)
    if settings.model is not None:
        rbm = _given_model(data, settings)
        fixed = set()
    else:
        visible = _visible_layer(data, scan, settings.visible)
        hidden, fixed = _hidden_layer(visible, settings)
        weights = random_weights(key, (visible.n, hidden.n), dtype)
        rbm = RBM(visible, hidden, weights=weights)
    named = not (isinstance(settings.visible, str) and settings.visible == "auto")
    probabilities = check_states("data", data, scan, rbm.visible, named)
    return Start(rbm, probabilities, frozenset(fixed | _frozen(rbm, settings.freeze)))


def finite_scan(name, data, largest, executor, sums=False):
    """Return ``core.scan`` of a data set after refusing NaN, infinity and what overflows.

    Parameters
    ----------
    name : str
        The argument.
    data : ndarray (n_samples, n)
    largest : float
        The largest number of the model's type.
    executor : fastrbm._lib.core.Exec
    sums : bool
        Whether the sums of the columns are asked for too.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import _lib
    >>> from fastrbm.training.start import finite_scan
    >>> finite_scan("data", np.array([[0.0, np.nan]]), 1e300, _lib.executor())
    Traceback (most recent call last):
    ValueError: data must be finite, got nan in row 0, column 1
    """
    scan = core.scan(executor, data, sums)
    if not scan.finite:
        row, column = scan.bad_index
        raise ValueError(
            f"{name} must be finite, got {data[row, column]} in row {row}, column {column}"
        )
    if max(-scan.min, scan.max) > largest:
        raise ValueError(
            f"{name} must fit the model's type, at most {largest:.4g}, got values from "
            f"{scan.min:.4g} to {scan.max:.4g}; standardise them"
        )
    return scan


def check_states(name, data, scan, layer, named):
    """Refuse data that are not states of `layer`; return whether they are probabilities.

    Parameters
    ----------
    name : str
        The argument.
    data : ndarray (n_samples, n)
    scan
        Of the data.
    layer : Layer
    named : bool
        Whether the caller named the unit type, which values between 0 and 1 need.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import Bernoulli, _lib
    >>> from fastrbm.training.start import check_states, finite_scan
    >>> data = np.array([[0.0, 0.25]])
    >>> scan = finite_scan("data", data, 1e300, _lib.executor())
    >>> check_states("data", data, scan, Bernoulli(2), named=True)
    True
    """
    if not layer.discrete:
        return False
    if layer.unit == "bernoulli" and scan.has_fraction:
        if scan.min < 0 or scan.max > 1:
            raise ValueError(
                f"{name} must lie in 0..1 to be probabilities of bernoulli units, got values "
                f"from {scan.min:g} to {scan.max:g}"
            )
        if not named:
            raise ValueError(f"{name} {_FRACTIONS}")
        return True
    strange = scan.has_other or scan.has_fraction
    if strange or (scan.has_zero if layer.unit == "spin" else scan.has_minus_one):
        raise _first_state_error(name, data, layer)
    return False


_FRACTIONS = (
    "holds values strictly between 0 and 1: name visible='bernoulli' to use them as "
    "probabilities, visible='gaussian' to use them as reals, or binarise by x >= 0.5"
)


def _first_state_error(name, data, layer):
    """Return the error for the first value of `data` that is not a state of `layer`."""
    rbm = RBM(layer, Bernoulli(1), weights=np.zeros((layer.n, 1)))
    try:
        core.Data(_lib.executor(), rbm._core, data)
    except core.StateError as error:
        return validation.state_error(name, error, layer, data)
    raise AssertionError("the scan saw a value that no row has")


def detect(data, scan):
    """Return the unit type, "bernoulli" or "spin", that the values of a data set show.

    Raises
    ------
    ValueError
        If they show neither; the message says what to name or to convert.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import _lib
    >>> from fastrbm.training.start import detect, finite_scan
    >>> data = np.array([[1, -1]])
    >>> detect(data, finite_scan("data", data, 1e300, _lib.executor()))
    'spin'
    """
    if data.dtype == np.bool_:
        return "bernoulli"
    if not (scan.has_fraction or scan.has_other):
        if scan.has_zero and not scan.has_minus_one:
            return "bernoulli"
        if scan.has_minus_one and not scan.has_zero:
            return "spin"
        if not scan.has_zero:
            raise ValueError(
                "data holds only 1, which both unit types have: name visible='bernoulli' or "
                "visible='spin'"
            )
        raise ValueError(
            "data holds -1, 0 and 1: neither Bernoulli states (0, 1) nor Spin states (-1, +1); "
            "name visible='gaussian' to use them as reals"
        )
    if scan.min >= 0 and scan.max <= 1:
        raise ValueError(f"data {_FRACTIONS}")
    if data.dtype == np.uint8 and scan.max == 255:
        if scan.min == 1:
            raise ValueError(
                "data holds 1 and 255: uint8 cannot hold -1, which became 255; use int8"
            )
        raise ValueError(
            "data holds grey levels up to 255: binarise by x >= 128, or standardise them and name "
            "visible='gaussian'"
        )
    raise ValueError(
        f"data holds values from {scan.min:g} to {scan.max:g}, neither Bernoulli states (0, 1) "
        "nor Spin states (-1, +1): name visible='gaussian' to use them as reals, best standardised"
    )


def _visible_layer(data, scan, visible):
    """Return the visible layer: the caller's, or one that starts from the data."""
    n = data.shape[1]
    if isinstance(visible, Layer):
        if visible.n != n:
            raise ValueError(f"visible must have {n} units, one for each column, got {visible.n}")
        return visible
    unit = validation.choice("visible", visible, ("auto", *LAYERS))
    if unit == "auto":
        unit = detect(data, scan)
    check_states("data", data, scan, LAYERS[unit](n), named=visible != "auto")
    return LAYERS[unit](n, bias=_START_BIAS[unit](scan.column_sums, len(data)))


def _log_odds(ones, n):
    """Return log-odds of counts of ones, kept finite by half a count on either side."""
    return np.log((ones + 0.5) / (n - ones + 0.5))


# The first visible bias by unit, from column sums and the number of rows: the maximum-likelihood
# one of a model without weights.
_START_BIAS = {
    "bernoulli": _log_odds,
    "spin": lambda sums, n: _log_odds((n + sums) / 2, n) / 2,
    "gaussian": lambda sums, n: sums / n,
}


def _hidden_layer(visible, settings):
    """Return the hidden layer, and the names of its parameters that shall not move."""
    hidden, n = settings.hidden, settings.n_hidden
    if isinstance(hidden, Layer):
        if not isinstance(n, LeftOut) and n != hidden.n:
            raise ValueError(f"n_hidden = {n} contradicts hidden, which has {hidden.n} units")
        return hidden, set()
    unit = validation.choice("hidden", hidden, ("auto", *LAYERS))
    if unit == "auto":
        unit = "gaussian" if visible.unit == "spin" else "bernoulli"
    # The bias of a Gaussian hidden unit only shifts the visible fields.
    return LAYERS[unit](int(n)), {"hidden_bias"} if unit == "gaussian" else set()


def _given_model(data, settings):
    """Return a copy of the caller's model after checking that the other arguments agree."""
    model = settings.model
    if data.shape[1] != model.n_visible:
        raise ValueError(
            f"data must have {model.n_visible} columns, one for each visible unit of model, "
            f"got {data.shape[1]}"
        )
    if not isinstance(settings.n_hidden, LeftOut) and settings.n_hidden != model.n_hidden:
        raise ValueError(
            f"n_hidden = {settings.n_hidden} contradicts model, which has {model.n_hidden} "
            "hidden units; leave it out"
        )
    for side in ("visible", "hidden"):
        asked, mine = getattr(settings, side), getattr(model, side)
        if isinstance(asked, Layer):
            agree = asked.n == mine.n and asked.astype(mine.dtype) == mine
        else:
            agree = validation.choice(side, asked, ("auto", *LAYERS)) in ("auto", mine.unit)
        if not agree:
            raise ValueError(f"{side} = {asked!r} contradicts model, which has {mine!r}")
    model.check_normalisable()
    return model.astype(settings.dtype or model.dtype)


def _frozen(rbm, freeze):
    """Return the names in `freeze` as a set, refusing those that the model does not have."""
    names = {"weights"}
    for side, layer in (("visible", rbm.visible), ("hidden", rbm.hidden)):
        names |= {f"{side}_{name}" for name in layer.parameters}
    for name in freeze:
        validation.choice("freeze", name, sorted(names))
    return set(freeze)

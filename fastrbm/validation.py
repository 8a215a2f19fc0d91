"""Checks of arguments: each gives one error that names the argument, what it got and what it needs.

The good path is kept short, because a 20 x 10 model is sampled in a few microseconds. States are
not looked at here: C checks them while it packs them, and `state_error` turns what C found into a
sentence with a hint.
"""

import math
import operator

import numpy as np

# The dtypes that C reads directly, whatever the strides. Others are converted or refused.
_NATIVE = frozenset(np.dtype(code) for code in "?bBhHiIlLqQfd")
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_INT8 = np.dtype(np.int8)


#: Rows, chains and units are counted in 32 bits by the random numbers; no other count is larger.
MOST = 2**32 - 2


def integer(name, value, minimum):
    """Return `value` as an int in [minimum, 2**32 - 2]; bool and float are refused.

    Examples
    --------
    >>> from fastrbm.validation import integer
    >>> integer("k", 3, 1)
    3
    >>> integer("k", 0, 1)
    Traceback (most recent call last):
    ValueError: k must be an integer >= 1, got 0
    """
    if type(value) is int and minimum <= value <= MOST:
        return value
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer >= {minimum}, got {value!r}")
    value = operator.index(value)
    if value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value}")
    if value > MOST:
        raise ValueError(f"{name} must be at most {MOST}, got {value}")
    return value


def number(name, value, minimum=-math.inf, below=math.inf, open_minimum=False):
    """Return `value` as a finite float in [minimum, below), or (minimum, below) if open.

    Examples
    --------
    >>> from fastrbm.validation import number
    >>> number("momentum", 0.5, minimum=0, below=1)
    0.5
    >>> number("beta", -1, minimum=0)
    Traceback (most recent call last):
    ValueError: beta must be a finite number >= 0, got -1
    """
    sign = ">" if open_minimum else ">="
    needs = "a finite number" if minimum == -math.inf else f"a finite number {sign} {minimum}"
    needs += "" if below == math.inf else f" and < {below}"
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be {needs}, got {value!r}") from None
    inside = minimum < result if open_minimum else minimum <= result
    strange = isinstance(value, (str, bool, np.bool_))
    if strange or not (math.isfinite(result) and inside and result < below):
        kind = TypeError if strange else ValueError
        raise kind(f"{name} must be {needs}, got {value!r}")
    return result


def flag(name, value):
    """Return `value` as a bool; only bools are taken, since ``exact="no"`` would be true.

    Examples
    --------
    >>> from fastrbm.validation import flag
    >>> flag("persistent", True)
    True
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {value!r}")


#: How products of binary states may be made; see `train_cd`.
KERNELS = ("auto", "tables", "rows")


def choice(name, value, allowed):
    """Return `value` if it is one of the names in `allowed`.

    Examples
    --------
    >>> from fastrbm.validation import choice
    >>> choice("rule", "hebb", ("hebb", "projection"))
    'hebb'
    >>> choice("rule", "storkey", ("hebb", "projection"))
    Traceback (most recent call last):
    ValueError: rule must be one of 'hebb', 'projection', got 'storkey'
    """
    if isinstance(value, str) and value in allowed:
        return value
    kind = ValueError if isinstance(value, str) else TypeError
    raise kind(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


#: Colder than any state can tell from zero temperature, and still finite in single precision.
LARGEST_BETA = 1e30


def beta(value, zero_allowed):
    """Return the inverse temperature as a float: >= 0 for discrete units, > 0 otherwise.

    Examples
    --------
    >>> from fastrbm.validation import beta
    >>> beta(1, zero_allowed=True)
    1.0
    """
    if type(value) is float and 0.0 < value <= LARGEST_BETA:
        return value
    value = number("beta", value, minimum=0, open_minimum=not zero_allowed)
    if value > LARGEST_BETA:
        raise ValueError(f"beta must be at most {LARGEST_BETA:g}, got {value:g}")
    return value


def model_dtype(name, value):
    """Return float32 or float64 as a NumPy dtype.

    Examples
    --------
    >>> from fastrbm.validation import model_dtype
    >>> model_dtype("dtype", "float32")
    dtype('float32')
    """
    try:
        result = np.dtype(value)
    except TypeError:
        result = None
    if value is None or result is None or result not in _FLOATS:  # a dtype equals None
        raise ValueError(f"{name} must be float32 or float64, got {value!r}")
    return result


def state_dtype(value, discrete, dtype):
    """Return the dtype for states: `dtype` of the model, or int8 where the units are discrete.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.validation import state_dtype
    >>> state_dtype("int8", discrete=True, dtype=np.dtype("float32"))
    dtype('int8')
    """
    if value is None:
        return dtype
    try:
        result = np.dtype(value)
    except TypeError:
        result = None
    if result is not None and (result == dtype or (discrete and result == _INT8)):
        return result
    also = " or int8" if discrete else "; int8 needs discrete units"
    raise ValueError(f"dtype must be the model's {dtype}{also}, got {value!r}")


def real_array(name, value):
    """Return `value` as an ndarray of a dtype that C reads: bool, an integer, float32 or float64.

    Nothing is copied unless the dtype asks for it (float16, long double, foreign byte order).

    Raises
    ------
    TypeError
        For complex numbers, objects, strings, masked and ragged arrays.

    Examples
    --------
    >>> from fastrbm.validation import real_array
    >>> real_array("v", [[0, 1]]).shape
    (1, 2)
    """
    if type(value) is np.ndarray and value.dtype in _NATIVE:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array: fill the gaps first")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(f"{name} must be a rectangular array of real numbers: {error}") from None
    if array.dtype in _NATIVE:
        return array
    if array.dtype.kind == "f":
        return array.astype(np.float32 if array.dtype.itemsize == 4 else np.float64)
    if array.dtype.kind in "iu" and array.dtype.newbyteorder("=") in _NATIVE:
        return array.astype(array.dtype.newbyteorder("="))
    raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")


def rows(name, value, n_units):
    """Return `value` as rows (n_samples, n_units), and whether it was one row (n_units,).

    Examples
    --------
    >>> from fastrbm.validation import rows
    >>> rows("v", [0, 1, 1], 3)
    (array([[0, 1, 1]]), True)
    >>> rows("v", [0, 1, 1], 4)
    Traceback (most recent call last):
    ValueError: v must have shape (n_samples, 4) or (4,), got (3,)
    """
    if type(value) is not np.ndarray or value.dtype not in _NATIVE:
        value = real_array(name, value)
    shape = value.shape
    if len(shape) == 2 and shape[1] == n_units:
        return value, False
    if len(shape) == 1 and shape[0] == n_units:
        return value[None], True
    raise ValueError(f"{name} must have shape (n_samples, {n_units}) or ({n_units},), got {shape}")


def table(name, value, n_units=None):
    """Return a data set as an array (n_samples, n_units) with at least one row and one column.

    Examples
    --------
    >>> from fastrbm.validation import table
    >>> table("data", [[0, 1], [1, 1]]).shape
    (2, 2)
    """
    array = real_array(name, value)
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (n_samples, n_units), got {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    if n_units is not None and array.shape[1] != n_units:
        raise ValueError(
            f"{name} must have {n_units} columns, one for each visible unit, got {array.shape[1]}"
        )
    return array


def finite(name, array):
    """Return `array` if it holds neither NaN nor infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.validation import finite
    >>> finite("weights", np.array([1.0, np.nan]))
    Traceback (most recent call last):
    ValueError: weights must be finite, got nan at index (1,)
    """
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    raise ValueError(f"{name} must be finite, got {array[index]} at index {index}")


# What each unit's states are, for the sentences of `state_error`.
_STATES = {"bernoulli": "0 or 1", "spin": "-1 or +1"}


def state_error(name, error, layer, array):
    """Return the ValueError that explains a value that is not a state of `layer`.

    Parameters
    ----------
    name : str
        The argument that held the value.
    error : fastrbm._lib.core.StateError
        What C found: ``.row``, ``.column`` and ``.value``.
    layer : Layer
        The layer whose states were asked.
    array : ndarray
        The array as the caller gave it; its dtype goes into the hint.

    Returns
    -------
    ValueError

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> rbm = fastrbm.RBM(fastrbm.Spin(2), fastrbm.Gaussian(1), weights=[[0.5], [0.5]])
    >>> rbm.mean_hidden(np.array([[1, 255]], dtype=np.uint8))
    Traceback (most recent call last):
    ValueError: v must hold -1 or +1 (spin units), got 255 in row 0, column 1: uint8 cannot hold \
-1, which became 255; use int8
    """
    value = float(error.value)
    needs = f"{_STATES[layer.unit]} ({layer.unit} units)" if layer.discrete else "finite numbers"
    hint = state_hint(layer.unit, value, array.dtype) if math.isfinite(value) else ""
    where = f"in row {error.row}, column {error.column}"
    return ValueError(f"{name} must hold {needs}, got {value:g} {where}{hint and ': ' + hint}")


def state_hint(unit, value, dtype):
    """Return how to turn a `value` that is not a state of `unit` into one, or ''.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.validation import state_hint
    >>> state_hint("bernoulli", -1.0, np.dtype(np.int8))
    'Spin states become Bernoulli states by (x + 1) // 2'
    """
    if value == 255 and dtype == np.uint8 and unit == "spin":
        return "uint8 cannot hold -1, which became 255; use int8"
    if unit == "spin" and value == 0:
        return "Bernoulli states become Spin states by 2 * x.astype('int8') - 1"
    if unit == "bernoulli" and value == -1:
        return "Spin states become Bernoulli states by (x + 1) // 2"
    if unit == "bernoulli" and value == 255 and dtype == np.uint8:
        return "binarise grey levels by x >= 128; -1 stored as uint8 becomes 255 too: use int8"
    if unit in _STATES and 0 < value < 1:
        return (
            "binarise by x >= 0.5, or, if these are probabilities, train with "
            "visible='bernoulli', which uses them as they are"
        )
    return ""

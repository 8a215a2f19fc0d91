"""The tree that a flow is made of: named parameters, named state, children, and how to rebuild it.

A module owns arrays of two kinds. *Parameters* are what training moves. *State* is what `fit` sets
from data (whitening, running statistics). Both stand in dicts by name, children in a dict by name
too, so that one walk gives the flat order of `ravel`, the names of a file and the types to cast.

`config` is what the constructor needs to build the module again, before its arrays are filled in:
JSON values and further modules. Classes are found again by their name.
"""

import copy
import typing

import numpy as np

from .. import validation


class Module:
    """Arrays with names, and modules within.

    A subclass gives its constructor's arguments in `config`, its own arrays in the dicts
    `own_parameters` and `own_state`, and the modules it contains in the dict `children`.

    Examples
    --------
    >>> from fastrbm.flows import LULinear, Module
    >>> layer = LULinear(2)
    >>> {name: array.shape for name, array in layer.parameters.items()}
    {'lower': (1,), 'upper': (1,), 'log_diagonal': (2,), 'shift': (2,)}
    """

    #: Every class of modules by its name, so that files can name them.
    classes: typing.ClassVar = {}
    dtype = np.dtype(np.float64)

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        Module.classes[cls.class_name()] = cls

    @classmethod
    def class_name(cls):
        """The name in files: with its module where it is not one of this package."""
        ours = cls.__module__.startswith(__package__ + ".")
        return cls.__name__ if ours else f"{cls.__module__}.{cls.__qualname__}"

    def __init__(self):
        self.own_parameters, self.own_state, self.children = {}, {}, {}

    @property
    def config(self):
        """The constructor's arguments: JSON values, and modules."""
        return {}

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config.items())
        return f"{type(self).__name__}({arguments})"

    def modules(self):
        """Yield this module and all within, parents first.

        Examples
        --------
        >>> from fastrbm.flows import Chain, Permutation
        >>> [type(module).__name__ for module in Chain([Permutation([1, 0])]).modules()]
        ['Chain', 'Permutation']
        """
        yield self
        for child in self.children.values():
            yield from child.modules()

    def _named(self, kind):
        found = dict(getattr(self, kind))
        for name, child in self.children.items():
            found |= {f"{name}.{inner}": array for inner, array in child._named(kind).items()}
        return found

    @property
    def parameters(self):
        """The trainable arrays by dotted name; they may be changed in place."""
        return self._named("own_parameters")

    @property
    def state(self):
        """The arrays that `fit` sets from data, by dotted name."""
        return self._named("own_state")

    @property
    def n_parameters(self):
        """How many numbers training moves."""
        return sum(array.size for array in self.parameters.values())

    def astype(self, dtype):
        """Return a copy whose arrays, inputs and results are of `dtype`, float32 or float64.

        Examples
        --------
        >>> from fastrbm.flows import LULinear
        >>> LULinear(3).astype("float32").parameters["shift"].dtype
        dtype('float32')
        """
        return copy.deepcopy(self).cast(dtype)

    def cast(self, dtype):
        """Bring all arrays to `dtype` in place, and return the module."""
        dtype = validation.model_dtype("dtype", dtype)
        for module in self.modules():
            module.dtype = dtype
            for arrays in (module.own_parameters, module.own_state):
                for name, array in arrays.items():
                    arrays[name] = array.astype(dtype)
        return self

    def ravel(self):
        """Return a copy of all parameters as one flat array, in the order of `parameters`.

        Examples
        --------
        >>> from fastrbm.flows import LULinear
        >>> LULinear(2).ravel()
        array([0., 0., 0., 0., 0., 0.])
        """
        return flatten(self.parameters.values(), self.dtype)

    def unravel(self, theta):
        """Set all parameters from one flat array, in place.

        Parameters
        ----------
        theta : array_like (n_parameters,)

        Raises
        ------
        ValueError
            If the length differs, or a number is not finite; nothing is changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastrbm.flows import LULinear
        >>> layer = LULinear(2)
        >>> layer.unravel(np.arange(6.0))
        >>> layer.parameters["log_diagonal"]
        array([2., 3.])
        """
        theta = validation.real_array("theta", theta)
        if theta.shape != (self.n_parameters,):
            raise ValueError(f"theta must have shape ({self.n_parameters},), got {theta.shape}")
        self.fill(validation.finite("theta", to_dtype(theta, self.dtype)))

    def fill(self, theta):
        """Set all parameters from the flat array `theta`, which is trusted."""
        scatter(theta, self.parameters.values())

    def snapshot(self):
        """Return copies of all parameters and state, for `restore`.

        Examples
        --------
        >>> from fastrbm.flows import LULinear
        >>> layer = LULinear(2)
        >>> before = layer.snapshot()
        >>> layer.parameters["shift"][:] = 1.0
        >>> layer.restore(before)
        >>> layer.parameters["shift"]
        array([0., 0.])
        """
        return [array.copy() for array in (*self.parameters.values(), *self.state.values())]

    def restore(self, snapshot):
        """Set all parameters and state to what `snapshot` gave."""
        arrays = (*self.parameters.values(), *self.state.values())
        for array, copied in zip(arrays, snapshot, strict=True):
            array[...] = copied

    def check_finite(self):
        """Raise a ValueError that names the first parameter or state that is not finite."""
        own = ((module.own_parameters, module.own_state) for module in self.modules())
        if all(np.isfinite(array).all() for pair in own for d in pair for array in d.values()):
            return
        for kind in ("parameters", "state"):  # their names cost more than the check
            for name, array in getattr(self, kind).items():
                validation.finite(f"{kind[:-1] if kind[-1] == 's' else kind} {name!r}", array)


def to_dtype(array, dtype):
    """Return the array in C order and of `dtype`; what is too large for it becomes infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows.module import to_dtype
    >>> to_dtype(np.array([1e300]), np.float32)
    array([inf], dtype=float32)
    """
    with np.errstate(over="ignore"):  # the check for finite numbers that follows has more to say
        return np.ascontiguousarray(array, dtype)


def scatter(theta, arrays):
    """Set arrays in place from one flat array: the reverse of `flatten`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows.module import scatter
    >>> a = np.zeros((1, 2))
    >>> scatter(np.array([1.0, 2.0]), [a])
    >>> a
    array([[1., 2.]])
    """
    first = 0
    for array in arrays:
        array[...] = theta[first : first + array.size].reshape(array.shape)
        first += array.size


def flatten(arrays, dtype=np.float64, out=None):
    """Lay arrays end to end in one flat array.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows.module import flatten
    >>> flatten([np.ones((1, 2)), np.zeros(1)])
    array([1., 1., 0.])
    """
    flat = [array.reshape(-1) for array in arrays]
    if not flat:
        return np.empty(0, dtype) if out is None else out
    return (
        np.concatenate(flat, out=out)
        if out is not None
        else np.concatenate(flat).astype(dtype, copy=False)
    )

"""Files of flows: one npz with the tree of modules as JSON, and every array by name, bit for bit.

Format version 1. The tree names classes of `Module` with their constructor's arguments; nothing is
unpickled, and only classes that exist in the program are built.
"""

from .. import files, validation
from ..errors import FileFormatError
from .module import Module

FORMAT = "fastrbm-flow"
VERSION = 1


def save(path, flow):
    """Write a flow to `path`, replacing it atomically.

    Examples
    --------
    >>> from fastrbm import flows
    >>> from fastrbm.flows import store
    >>> store.save("/", flows.planar(dim=2, rng=0))
    Traceback (most recent call last):
    IsADirectoryError: cannot write '/': it is a directory
    """
    flow.check_finite()
    arrays = {f"parameters/{name}": array for name, array in flow.parameters.items()}
    arrays |= {f"state/{name}": array for name, array in flow.state.items()}
    header = {"flow": _encode(flow), "dtype": str(flow.dtype)}
    files.write_archive(path, FORMAT, VERSION, header, arrays)


def load(path):
    """Read a flow that `Flow.save` wrote.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    Flow

    Raises
    ------
    OSError
        If the file cannot be opened.
    FileFormatError
        If it is foreign, truncated, damaged or too new.

    Examples
    --------
    >>> from fastrbm import flows
    >>> flows.load("no such file.npz")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no such file.npz'
    """
    header, arrays = files.read_archive(path, FORMAT, VERSION)
    try:
        if header["flow"]["class"] != "Flow":
            raise ValueError(f"it holds {header['flow']['class']!r}, not a Flow")
        flow = _decode(header["flow"])
        flow = flow.cast(validation.model_dtype("dtype", header["dtype"]))
        for kind in ("parameters", "state"):
            for name, array in getattr(flow, kind).items():
                stored = arrays.pop(f"{kind}/{name}")
                if stored.shape != array.shape or stored.dtype != array.dtype:
                    raise ValueError(f"{name} is {stored.dtype} {stored.shape}")
                array[...] = stored
        if arrays:
            raise ValueError(f"unexpected arrays {sorted(arrays)}")
        flow.check_finite()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        shown = f"{str(path)!r} is not a whole {FORMAT} file"
        raise FileFormatError(f"{shown}: {error}") from error
    return flow


def _encode(value):
    if isinstance(value, Module):
        name = type(value).class_name()
        if Module.classes.get(name) is not type(value):
            raise TypeError(f"cannot save {value!r}: another class is called {name}")
        return {"class": name, **{key: _encode(inner) for key, inner in value.config.items()}}
    if isinstance(value, (list, tuple)):
        return [_encode(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"cannot save {value!r}: derive its class from fastrbm.flows.Module and give it a config"
    )


def _decode(value):
    if isinstance(value, dict):
        name = value["class"]
        if name not in Module.classes:
            raise ValueError(f"no class {name!r} is known; import the program that defines it")
        options = {key: _decode(inner) for key, inner in value.items() if key != "class"}
        return Module.classes[name](**options)
    return [_decode(inner) for inner in value] if isinstance(value, list) else value

"""Files on disk: atomic replacement, and npz archives with a JSON header and a format version.

`replacing` writes a temporary file beside the target, flushes it to the disk and renames it, so a
crash or a kill -9 at any moment leaves either the old file or the new one, never a part of one.
An archive is an npz without pickles: plain arrays, and a `header` entry that holds JSON text with
the keys `format` and `format_version`.
"""

import contextlib
import json
import os
import secrets
import stat

import numpy as np

from .errors import FileFormatError


@contextlib.contextmanager
def replacing(path):
    """Give a binary file to write; on a clean exit it replaces the file at `path` atomically.

    Permissions are those that ``open(path, "wb")`` would give, a symbolic link is followed, and
    the temporary file is removed when anything fails.

    Parameters
    ----------
    path : str or os.PathLike
        An existing regular file or a name in an existing directory.

    Raises
    ------
    OSError
        If the directory cannot be written to or `path` is not a regular file.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastrbm.files import replacing
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "note.txt")
    ...     with replacing(path) as file:
    ...         _ = file.write(b"whole or not at all")
    ...     os.listdir(folder)
    ['note.txt']
    """
    target = os.path.realpath(os.fspath(path))
    mode = _existing_mode(path, target)
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".fastrbm-{secrets.token_hex(8)}.tmp")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(temporary, flags, 0o666)  # the umask applies, as in open()
    except OSError as error:
        # The user knows the target, not our temporary name.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(descriptor, mode)
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def check_writable(path):
    """Raise, before any work, what `replacing` would raise for this path after it.

    Parameters
    ----------
    path : str or os.PathLike

    Raises
    ------
    OSError
        If `path` is no regular file, write-protected, or in a folder that is missing or protected.

    Examples
    --------
    >>> from fastrbm.files import check_writable
    >>> check_writable("/")
    Traceback (most recent call last):
    IsADirectoryError: cannot write '/': it is a directory
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    shown = repr(os.fspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {shown}: there is no directory {folder!r}")
    _existing_mode(path, target)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write {shown}: the directory is write-protected")


def _existing_mode(path, target):
    """Return the permission bits of an existing regular `target`, None where there is none."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"cannot write {os.fspath(path)!r}: it is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"cannot write {os.fspath(path)!r}: it is not a regular file")
    if not os.access(target, os.W_OK):
        raise PermissionError(f"cannot write {os.fspath(path)!r}: the file is write-protected")
    return stat.S_IMODE(status.st_mode)


def _sync_folder(folder):
    """Flush the rename itself; file systems that cannot do so are left to their own order."""
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_archive(path, kind, version, header, arrays):
    """Write named arrays and a JSON header to `path`, atomically.

    Parameters
    ----------
    path : str or os.PathLike
        Taken as it is: no suffix is added.
    kind : str
        The name of the format, checked by `read_archive`.
    version : int
        The version of the format.
    header : dict
        Anything that JSON holds.
    arrays : dict of ndarray
        Stored without compression and without change of a bit.

    Examples
    --------
    >>> import os, tempfile, numpy as np
    >>> from fastrbm.files import read_archive, write_archive
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "a.npz")
    ...     write_archive(path, "example", 1, {"n": 2}, {"x": np.arange(2)})
    ...     header, arrays = read_archive(path, "example", 1)
    >>> header["n"], arrays["x"].tolist()
    (2, [0, 1])
    """
    text = json.dumps({"format": kind, "format_version": version, **header})
    with replacing(path) as file:
        np.savez(file, header=np.array(text), **arrays)


def read_archive(path, kind, version):
    """Read what `write_archive` wrote.

    Parameters
    ----------
    path : str or os.PathLike
    kind : str
        The format that is expected.
    version : int
        The newest version that the caller understands.

    Returns
    -------
    header : dict
    arrays : dict of ndarray

    Raises
    ------
    OSError
        If the file cannot be opened.
    FileFormatError
        If it is foreign, truncated, damaged or too new. Nothing is ever unpickled.

    Examples
    --------
    >>> import tempfile
    >>> from fastrbm.files import read_archive
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     read_archive(file.name, "example", 1)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    fastrbm.errors.FileFormatError: ... is no example file: it is not an npz archive
    """
    shown = repr(os.fspath(path))
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            raise FileFormatError(f"{shown} is no {kind} file: it is not an npz archive")
        file.seek(0)
        # Damage surfaces as almost any exception of zipfile, zlib, struct, json or numpy.
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            header = json.loads(str(arrays.pop("header")[()]))
            found, found_version = header["format"], header["format_version"]
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise FileFormatError(f"{shown} is not a readable {kind} file: {reason}") from error
    if found != kind:
        raise FileFormatError(f"{shown} holds {found!r}, not {kind!r}")
    if type(found_version) is not int or not 1 <= found_version <= version:
        raise FileFormatError(
            f"{shown} has format version {found_version!r}; this fastrbm reads up to {version}"
        )
    return header, arrays

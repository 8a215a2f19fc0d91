"""Atomic replacement and archives: nothing half-written, nothing unpickled."""

import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

import fastrbm
from fastrbm import FileFormatError, files

# root may write anywhere, whatever the permissions say
needs_permissions = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root ignores permissions"
)


# ------------------------------------------------------------------------------- replacing a file


def test_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file"
    for content in (b"old", b"new"):
        with files.replacing(path) as file:
            file.write(content)
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ["file"]


def write_half(path, error):
    with files.replacing(path) as file:
        file.write(b"half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_half(path, error)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_old_file_is_there_until_the_end(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with files.replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_permissions_are_those_of_open(tmp_path):
    ordinary, ours = tmp_path / "ordinary", tmp_path / "ours"
    ordinary.write_bytes(b"")
    with files.replacing(ours) as file:
        file.write(b"")
    assert stat.S_IMODE(ours.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)
    ours.chmod(0o640)
    with files.replacing(ours) as file:
        file.write(b"again")
    assert stat.S_IMODE(ours.stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with files.replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_places_that_cannot_be_written(tmp_path):
    rbm = fastrbm.RBM(fastrbm.Spin(2), fastrbm.Spin(2))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        rbm.save(tmp_path / "nowhere" / "model.npz")
    with pytest.raises(IsADirectoryError):
        rbm.save(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        fastrbm.RBM(fastrbm.Spin(2), fastrbm.Spin(2)).save(tmp_path / "file" / "model.npz")


@needs_permissions
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="model"):
            fastrbm.RBM(fastrbm.Spin(2), fastrbm.Spin(2)).save(tmp_path / "model.npz")
    finally:
        tmp_path.chmod(0o700)
    assert os.listdir(tmp_path) == []


SAVE_FOR_EVER = """
import sys
import numpy as np
import fastrbm
models = [
    fastrbm.RBM(fastrbm.Spin(200), fastrbm.Spin(100), weights=np.full((200, 100), float(value)))
    for value in (1, 2)
]
models[0].save(sys.argv[1])
print("saving", flush=True)
while True:
    for model in models:
        model.save(sys.argv[1])
"""


@pytest.mark.parametrize("delay", [0.01, 0.023, 0.05, 0.11])
def test_kill_during_save_loses_nothing(tmp_path, delay):
    """kill -9 at any moment leaves one whole model or the other."""
    path = tmp_path / "model.npz"
    with subprocess.Popen(
        [sys.executable, "-c", SAVE_FOR_EVER, str(path)], stdout=subprocess.PIPE
    ) as child:
        try:
            assert child.stdout.readline() == b"saving\n"
            time.sleep(delay)
        finally:
            child.send_signal(signal.SIGKILL)
    weights = fastrbm.RBM.load(path).weights
    assert weights.shape == (200, 100)
    assert np.unique(weights).tolist() in ([1.0], [2.0])


# --------------------------------------------------------------------------------------- archives


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "archive.npz"
    arrays = {"x": np.arange(6.0).reshape(2, 3), "y": np.array([np.nan, -0.0], np.float32)}
    files.write_archive(path, "example", 2, {"n": 3, "name": "ä"}, arrays)
    return path, arrays


def test_round_trip(archive):
    path, arrays = archive
    header, found = files.read_archive(path, "example", 2)
    assert (header["n"], header["name"]) == (3, "ä")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()


def test_readable_by_numpy_alone(archive):
    path, _ = archive
    with np.load(path, allow_pickle=False) as loaded:
        header = json.loads(str(loaded["header"]))
    assert (header["format"], header["format_version"]) == ("example", 2)


def test_the_name_is_taken_as_it_is(tmp_path):
    files.write_archive(tmp_path / "no suffix", "example", 1, {}, {"x": np.zeros(1)})
    assert os.listdir(tmp_path) == ["no suffix"]


def test_foreign_and_newer_formats(archive):
    path, _ = archive
    with pytest.raises(FileFormatError, match="'example', not 'another'"):
        files.read_archive(path, "another", 2)
    with pytest.raises(FileFormatError, match="version 2"):
        files.read_archive(path, "example", 1)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x93NUMPY", bytes(1000)])
def test_no_archive_at_all(tmp_path, content):
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"file\.npz"):
        files.read_archive(path, "example", 1)


@pytest.mark.parametrize(
    "header", ["", "{", "[]", "3", "{}", '{"format": "example"}', '{"format_version": 1}',
               '{"format": "example", "format_version": "1"}',
               '{"format": "example", "format_version": true}',
               '{"format": "example", "format_version": 0}',
               '{"format": "example", "format_version": 1.0}',
               '{"format": ["example"], "format_version": 1}'],
)  # fmt: skip
def test_bad_headers(tmp_path, header):
    path = tmp_path / "file.npz"
    np.savez(path, header=np.array(header))
    with pytest.raises(FileFormatError, match=r"file\.npz"):
        files.read_archive(path, "example", 1)


class Exploit:
    """What unpickling would run."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", header=np.array([Exploit()], dtype=object))
    with open("b.npz", "wb") as file:
        pickle.dump(Exploit(), file)
    for name in ("a.npz", "b.npz"):
        with pytest.raises(FileFormatError):
            files.read_archive(name, "example", 1)
    assert not os.path.exists("unpickled")


def test_a_damaged_member_is_noticed(archive, tmp_path):
    """A flipped bit of the data fails the zip's checksum."""
    path, _ = archive
    with zipfile.ZipFile(path) as z:
        offset = z.getinfo("x.npy").header_offset
    data = bytearray(path.read_bytes())
    data[offset + 200] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileFormatError):
        files.read_archive(path, "example", 2)

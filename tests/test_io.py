"""Models to and from files and byte blocks: bits preserved, damage refused."""

import io
import json
import os
import struct

import adapters
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import models

import fastrbm
from fastrbm import RBM, Bernoulli, FileFormatError, Gaussian, Spin

pairs = pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)
dtypes = pytest.mark.parametrize("dtype", adapters.DTYPES)


def model(visible="spin", hidden="gaussian", dtype="float32", n_visible=5, n_hidden=3):
    return adapters.to_rbm(adapters.random_model(visible, hidden, n_visible, n_hidden), dtype)


def bits(rbm):
    """Everything a model is, to the bit."""
    arrays = [rbm.weights, *rbm.visible.parameters.values(), *rbm.hidden.parameters.values()]
    return [type(rbm.visible), type(rbm.hidden), *((a.dtype, a.shape, a.tobytes()) for a in arrays)]


# ------------------------------------------------------------------------------------ round trips


@pairs
@dtypes
@pytest.mark.parametrize(("n_visible", "n_hidden"), [(1, 1), (5, 3), (33, 64)])
def test_file_round_trip(visible, hidden, dtype, n_visible, n_hidden, tmp_path):
    rbm = model(visible, hidden, dtype, n_visible, n_hidden)
    rbm.save(tmp_path / "model.npz")
    assert bits(RBM.load(tmp_path / "model.npz")) == bits(rbm)
    rbm.save(str(tmp_path / "text path"))
    assert RBM.load(str(tmp_path / "text path")) == rbm


@pairs
@dtypes
@pytest.mark.parametrize(("n_visible", "n_hidden"), [(1, 1), (5, 3), (33, 64)])
def test_bytes_round_trip(visible, hidden, dtype, n_visible, n_hidden):
    rbm = model(visible, hidden, dtype, n_visible, n_hidden)
    block = rbm.to_bytes()
    assert isinstance(block, bytes)
    for form in (block, bytearray(block), memoryview(block)):
        assert bits(RBM.from_bytes(form)) == bits(rbm)
    assert RBM.from_bytes(block).to_bytes() == block


def test_bits_that_rounding_would_lose(tmp_path):
    """Denormals, negative zero, the largest and the smallest numbers."""
    values = np.array([5e-324, -0.0, 1.7e308, 2.2e-308, 0.1, -1.7e308])[:, None]
    rbm = RBM(Spin(6), Spin(1), weights=values)
    rbm.save(tmp_path / "model")
    for back in (RBM.load(tmp_path / "model"), RBM.from_bytes(rbm.to_bytes())):
        assert back.weights.tobytes() == values.tobytes()


def test_a_loaded_model_is_its_own(tmp_path):
    rbm = model()
    block = bytearray(rbm.to_bytes())
    back = RBM.from_bytes(block)
    block[:] = bytes(len(block))
    assert back == rbm
    back.weights[:] = 0  # writable
    back.visible.bias[0] = 1


def test_block_layout():
    """The layout of fastrbm.h: header of 56 bytes, arrays padded to 8, little-endian."""
    rbm = model("spin", "gaussian", "float32", 5, 3)
    block = rbm.to_bytes()
    magic, version, dtype, visible, hidden, n, p, size, checksum = struct.unpack_from(
        "<8sIIIIQQQQ", block
    )
    assert (magic, version, dtype, visible, hidden) == (b"FRBMRBM\0", 1, 0, 1, 2)
    assert (n, p, size) == (5, 3, len(block))
    arrays = [rbm.visible.bias, rbm.hidden.bias, rbm.hidden.precision, rbm.weights]
    body = b"".join(a.tobytes() + bytes(-a.nbytes % 8) for a in arrays)
    assert block[56:] == body
    words = np.frombuffer(block, "<u8")
    fnv = 0xCBF29CE484222325
    for word in np.delete(words, 6):
        fnv = ((fnv ^ int(word)) * 0x100000001B3) % 2**64
    assert fnv == checksum


def test_the_file_says_what_it_is(tmp_path):
    rbm = model()
    rbm.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as archive:
        header = json.loads(str(archive["header"]))
        np.testing.assert_array_equal(archive["weights"], rbm.weights)
        np.testing.assert_array_equal(archive["visible_bias"], rbm.visible.bias)
        np.testing.assert_array_equal(archive["hidden_precision"], rbm.hidden.precision)
    assert header["format"] == "fastrbm-rbm"
    assert header["format_version"] == 1
    assert header["visible"]["unit"] == "spin"


# ------------------------------------------------------------------------------------- bad blocks


def test_every_truncation_is_refused():
    block = model().to_bytes()
    for size in range(len(block)):
        with pytest.raises(FileFormatError):
            RBM.from_bytes(block[:size])
    with pytest.raises(FileFormatError):
        RBM.from_bytes(block + bytes(8))


def test_every_flipped_bit_is_refused():
    block = model("bernoulli", "spin", "float64", 2, 1).to_bytes()
    for position in range(len(block)):
        for bit in range(8):
            damaged = bytearray(block)
            damaged[position] ^= 1 << bit
            with pytest.raises(FileFormatError):
                RBM.from_bytes(damaged)


def sealed(block):
    """The block with a checksum that fits, so that the other checks are reached."""
    words = np.frombuffer(bytes(block), "<u8").copy()
    fnv = 0xCBF29CE484222325
    for word in np.delete(words, 6):
        fnv = ((fnv ^ int(word)) * 0x100000001B3) % 2**64
    words[6] = fnv
    return words.tobytes()


@pytest.mark.parametrize(
    ("offset", "code", "value"),
    [
        (0, "8s", b"NOTRBM\0\0"),
        (8, "I", 0),
        (8, "I", 2),
        (12, "I", 2),
        (12, "I", 1),
        (16, "I", 3),
        (20, "I", 0xFFFFFFFF),
        (16, "I", 2),
        (24, "Q", 0),
        (24, "Q", 6),
        (24, "Q", 2**63),
        (24, "Q", 2**64 - 1),
        (32, "Q", 0),
        (32, "Q", 2**61 + 3),
        (40, "Q", 0),
        (40, "Q", 2**64 - 8),
        (56, "f", np.nan),
        (56, "f", np.inf),
        (96, "f", -1.0),
        (96, "f", 0.0),
        (112, "f", np.nan),
    ],
)
def test_lies_under_a_good_checksum(offset, code, value):
    """Foreign magic, versions, types, sizes that overflow, values that no model has."""
    block = bytearray(model("spin", "gaussian", "float32", 5, 3).to_bytes())
    struct.pack_into("<" + code, block, offset, value)
    with pytest.raises(FileFormatError):
        RBM.from_bytes(sealed(block))


@pytest.mark.parametrize(("n", "p"), [(4, 2**62), (2, 2**62), (2**62, 4), (2**62, 2**62)])
def test_sizes_that_agree_modulo_64_bits(n, p):
    """Byte counts that wrap around to those of the block."""
    size = 56 + 4 * (n % 2**62) + 4 * (p % 2**62)  # 4 n p wraps to 0
    header = struct.pack("<8sIIIIQQQQ", b"FRBMRBM\0", 1, 0, 1, 1, n, p, size, 0)
    with pytest.raises(FileFormatError):
        RBM.from_bytes(sealed(header + bytes(size - 56)))


def test_the_seal_itself_is_right():
    block = model().to_bytes()
    assert sealed(block) == block


def test_a_block_of_two_gaussian_layers_is_checked():
    """A block can hold finite numbers and still no model."""
    rbm = RBM(Gaussian(1), Gaussian(1), weights=[[0.5]])
    block = bytearray(rbm.to_bytes())
    struct.pack_into("<d", block, len(block) - 8, 2.0)
    with pytest.raises(FileFormatError, match="positive definite"):
        RBM.from_bytes(sealed(block))


@pytest.mark.parametrize("block", ["text", None, 3, np.zeros(8), [1, 2]])
def test_not_bytes(block):
    with pytest.raises(TypeError, match="bytes"):
        RBM.from_bytes(block)


mutations = st.lists(
    st.tuples(
        st.sampled_from(["set", "delete", "insert", "repeat", "cut"]),
        st.integers(0, 2**32),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)


def mutate(block, steps):
    block = bytearray(block)
    for kind, where, value in steps:
        where %= len(block) + 1
        if kind == "set" and where < len(block):
            block[where] = value
        elif kind == "delete":
            del block[where : where + value % 9]
        elif kind == "insert":
            block[where:where] = bytes([value]) * (value % 9)
        elif kind == "repeat":
            block[where:where] = block[where : where + value]
        elif kind == "cut":
            del block[where:]
    return bytes(block)


@settings(max_examples=400)
@given(mutations)
def test_mutated_blocks(steps):
    """Only FileFormatError, or the model itself where nothing changed."""
    rbm = model()
    block = rbm.to_bytes()
    changed = mutate(block, steps)
    if changed == block:
        return
    with pytest.raises(FileFormatError):
        RBM.from_bytes(changed)


@settings(max_examples=400)
@given(mutations)
def test_mutated_blocks_with_a_good_checksum(steps):
    """The other checks alone: an error, or a model that works."""
    changed = mutate(model().to_bytes(), steps)
    changed += bytes(-len(changed) % 8)
    if len(changed) < 56:
        changed += bytes(56 - len(changed))
    try:
        rbm = RBM.from_bytes(sealed(changed))
    except FileFormatError:
        return
    rbm.sample_hidden(np.ones((2, rbm.n_visible)), rng=1)


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_random_blocks(block):
    with pytest.raises(FileFormatError):
        RBM.from_bytes(block)


# -------------------------------------------------------------------------------------- bad files


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        RBM.load(tmp_path / "nothing.npz")
    with pytest.raises(OSError, match="directory"):
        RBM.load(tmp_path)


@settings(max_examples=200)
@given(mutations)
def test_mutated_files(tmp_path_factory, steps):
    """Only FileFormatError, or the model where the change does not matter to a zip reader."""
    path = tmp_path_factory.mktemp("mutated") / "model.npz"
    rbm = model()
    rbm.save(path)
    path.write_bytes(mutate(path.read_bytes(), steps))
    try:
        loaded = RBM.load(path)
    except FileFormatError:
        return
    assert loaded == rbm


def rewritten(path, **changes):
    """An archive with some members replaced (None: left out)."""
    with np.load(path, allow_pickle=False) as archive:
        members = {name: archive[name] for name in archive.files}
    members |= changes
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in members.items() if value is not None})
    path.write_bytes(buffer.getvalue())


def with_header(path, **changes):
    with np.load(path, allow_pickle=False) as archive:
        header = json.loads(str(archive["header"]))
    header |= changes
    rewritten(path, header=np.array(json.dumps(header)))


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": None},
        {"weights": np.zeros((3, 5), np.float32)},
        {"weights": np.zeros(15, np.float32)},
        {"weights": np.full((5, 3), np.nan, np.float32)},
        {"weights": np.zeros((5, 3), np.int32)},
        {"weights": np.zeros((5, 3), np.complex64)},
        {"visible_bias": None},
        {"visible_bias": np.zeros(4, np.float32)},
        {"visible_bias": np.full(5, np.inf, np.float32)},
        {"hidden_precision": np.array([1, 0, 1], np.float32)},
        {"hidden_precision": np.array([1, -1, 1], np.float32)},
        {"header": None},
        {"stranger": np.zeros(3)},
    ],
)
def test_archives_that_hold_no_model(tmp_path, changes):
    path = tmp_path / "model.npz"
    model().save(path)
    rewritten(path, **changes)
    with pytest.raises(FileFormatError, match=r"model\.npz"):
        RBM.load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "numpy"},
        {"format_version": 2},
        {"visible": {"unit": "potts", "n": 5}},
        {"visible": {"unit": "spin", "n": 6}},
        {"visible": {"unit": "spin", "n": "5"}},
        {"visible": "spin"},
        {"hidden": None},
        {"hidden": {"unit": "spin", "n": 3}},
    ],
)
def test_headers_that_describe_no_model(tmp_path, changes):
    path = tmp_path / "model.npz"
    model().save(path)
    with_header(path, **changes)
    with pytest.raises(FileFormatError, match=r"model\.npz"):
        RBM.load(path)


def test_a_file_of_two_gaussian_layers_is_checked(tmp_path):
    path = tmp_path / "model.npz"
    RBM(Gaussian(1), Gaussian(1), weights=[[0.5]]).save(path)
    rewritten(path, weights=np.array([[2.0]]))
    with pytest.raises(FileFormatError, match="positive definite"):
        RBM.load(path)


def test_a_failed_save_keeps_the_old_model(tmp_path, monkeypatch):
    """A disk that is full at the last moment leaves the former file whole."""
    path = tmp_path / "model.npz"
    old = RBM(Bernoulli(3), Bernoulli(2), rng=1)
    old.save(path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        RBM(Bernoulli(3), Bernoulli(2), rng=2).save(path)
    monkeypatch.undo()
    assert RBM.load(path) == old
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def test_a_broken_model_is_not_saved(tmp_path):
    """Parameters spoilt in place: refused, and the good old file stays."""
    path = tmp_path / "model.npz"
    rbm = RBM(Bernoulli(3), Bernoulli(2), rng=1)
    rbm.save(path)
    good = rbm.copy()
    rbm.weights[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        rbm.save(path)
    assert RBM.load(path) == good


def test_the_package_exports_the_error():
    assert issubclass(fastrbm.FileFormatError, ValueError)

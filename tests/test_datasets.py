"""The data that come with the package, and the patterns that are made by counting."""

from importlib import resources

import numpy as np
import pytest

from fastrbm import datasets


def test_digits_are_the_originals():
    grey = datasets.digits(values="grey")
    assert grey.data.shape == (1797, 64)
    assert grey.data.dtype == np.int8
    assert (grey.data.min(), grey.data.max()) == (0, 16)
    assert np.bincount(grey.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # The first image as scikit-learn prints it.
    assert grey.data[0, :16].tolist() == [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]


def test_digits_are_binarised_at_half_ink():
    grey, binary, spin = (datasets.digits(values=values) for values in ("grey", "binary", "spin"))
    assert np.array_equal(binary.data, grey.data >= 8)
    assert np.array_equal(spin.data, 2 * binary.data - 1)
    assert binary.data.dtype == spin.data.dtype == np.int8
    assert np.array_equal(spin.labels, grey.labels)
    assert np.array_equal(datasets.digits().data, binary.data)


def test_digits_are_the_callers_own():
    datasets.digits().data[:] = 1
    assert datasets.digits().data.mean() < 0.5


def test_data_file_is_small():
    assert len(resources.files("fastrbm").joinpath("data/digits.npz").read_bytes()) < 100_000


def test_origin_and_licence_are_named():
    for text in (
        datasets.digits.__doc__,
        resources.files("fastrbm").joinpath("data/README.md").read_text(),
    ):
        for words in ("Alpaydin", "Kaynak", "UCI Machine Learning Repository", "CC BY 4.0"):
            assert words in " ".join(text.split())


@pytest.mark.parametrize("n", range(1, 8))
def test_bars_and_stripes_are_all_there_once(n):
    patterns = datasets.bars_and_stripes(n)
    assert patterns.shape == (2 ** (n + 1) - 2, n * n)
    assert patterns.dtype == np.int8
    assert len(np.unique(patterns, axis=0)) == len(patterns)
    pictures = patterns.reshape(-1, n, n)
    bars = (pictures == pictures[:, :, :1]).all(axis=(1, 2))
    stripes = (pictures == pictures[:, :1, :]).all(axis=(1, 2))
    assert (bars | stripes).all()


def test_bars_and_stripes_as_spins():
    spins = datasets.bars_and_stripes(3, values="spin")
    assert spins.dtype == np.int8
    assert np.array_equal(spins, 2 * datasets.bars_and_stripes(3) - 1)


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "n must be"),
        (21, ValueError, "n must be at most 20"),
        (2.0, TypeError, "n must be"),
        (True, TypeError, "n must be"),
    ],
)
def test_bars_and_stripes_refuse(n, error, message):
    with pytest.raises(error, match=message):
        datasets.bars_and_stripes(n)


def test_unknown_values_are_refused():
    with pytest.raises(ValueError, match="values must be one of 'binary', 'spin', 'grey'"):
        datasets.digits(values="gray")
    with pytest.raises(ValueError, match="values must be one of 'binary', 'spin'"):
        datasets.bars_and_stripes(2, values="grey")


def test_repr():
    assert repr(datasets.digits(values="spin")) == "Dataset(1797 rows of 64 units, values -1, 1)"

"""Where the benchmarks find MNIST: a file of the user's, named by --data or FASTRBM_MNIST."""

import os

import numpy as np

HOW = (
    "MNIST is not part of fastrbm: set FASTRBM_MNIST, or pass --data, to an .npz file with the "
    "arrays train_images (60000, 784) and test_images (10000, 784) of grey levels 0 to 255"
)

#: Binary MNIST is on from this grey level.
THRESHOLD = 128


def load(path=None):
    """Return (train, test) grey levels, uint8; a FileNotFoundError that says what to do."""
    path = path or os.environ.get("FASTRBM_MNIST")
    if not path:
        raise FileNotFoundError(HOW)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {path!r}. {HOW}")
    with np.load(path, allow_pickle=False) as archive:
        missing = {"train_images", "test_images"} - set(archive.files)
        if missing:
            raise ValueError(f"{path!r} has no {' and no '.join(sorted(missing))}. {HOW}")
        return archive["train_images"], archive["test_images"]


def binary(images):
    """0 and 1, int8."""
    return (images >= THRESHOLD).astype(np.int8)

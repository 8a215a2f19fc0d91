"""Builds ring.pyx against an installed fastrbm: nothing is linked, cimport resolves at import.

python setup.py build_ext --inplace
"""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

import fastrbm

setup(
    name="ring",
    ext_modules=cythonize(
        Extension("ring", ["ring.pyx"], include_dirs=[fastrbm.get_include()]),
        # Where cimport finds fastrbm/capi.pxd, even if fastrbm was installed with `pip install -e`.
        include_path=[str(Path(fastrbm.__file__).parents[1])],
        language_level=3,
    ),
)

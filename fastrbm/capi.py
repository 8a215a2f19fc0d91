"""The C API for Cython users: `from fastrbm.capi cimport frbm_rbm_t, frbm_gibbs_sample`.

cimport looks the functions up here when the user's module is imported; they live in the one
extension module, so that the C library is in memory once. capi.pxd declares them.
"""

from fastrbm._lib.core import __pyx_capi__

__all__ = ["__pyx_capi__"]

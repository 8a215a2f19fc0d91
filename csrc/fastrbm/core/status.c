/* Status codes in words. */
#include "fastrbm.h"

const char *frbm_version(void) { return FRBM_VERSION; }

const char *frbm_strerror(int code) {
    switch (code) {
    case FRBM_OK:
        return "success";
    case FRBM_STOPPED:
        return "stopped by the poll function";
    case FRBM_ERROR_ARGUMENT:
        return "an argument is NULL or outside its range";
    case FRBM_ERROR_WORKSPACE:
        return "the workspace is NULL or too small";
    case FRBM_ERROR_SIMD:
        return "this SIMD level is unknown or not available on this machine";
    case FRBM_ERROR_BETA:
        return "beta must be at most 1e30, and >= 0 for discrete pairs, > 0 otherwise";
    case FRBM_ERROR_UNIT:
        return "unknown unit type";
    case FRBM_ERROR_DTYPE:
        return "unknown or unsuitable element type";
    case FRBM_ERROR_PARAMETER:
        return "a parameter is not finite, or a precision is not positive";
    case FRBM_ERROR_STATE:
        return "a value is not a state of its unit";
    case FRBM_ERROR_TRUNCATED:
        return "the byte block ends too early";
    case FRBM_ERROR_MAGIC:
        return "this is not a byte block of an RBM";
    case FRBM_ERROR_FORMAT:
        return "the byte block has a format version that this library does not know";
    case FRBM_ERROR_ALIGNMENT:
        return "the byte block is not aligned to 8 bytes";
    case FRBM_ERROR_CORRUPT:
        return "the byte block is damaged: its sizes or its checksum do not agree";
    case FRBM_ERROR_BYTE_ORDER:
        return "byte blocks are little-endian and this machine is not";
    case FRBM_ERROR_DIVERGED:
        return "training diverged; the model holds the last good state";
    case FRBM_ERROR_RANGE:
        return "log-weights pass 1e15: double precision cannot tell the states apart";
    default:
        return "unknown status code";
    }
}

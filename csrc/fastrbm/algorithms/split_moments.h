/* Workspace of the means of a split product. */
#ifndef FRBM_ALGORITHMS_SPLIT_MOMENTS_H
#define FRBM_ALGORITHMS_SPLIT_MOMENTS_H

#include "split.h"

static inline void frbm_split_moments_lay_out(frbm_workspace_t *w, struct frbm_split_buffers *b) {
    (void)w, (void)b;
}
/* Doubles of scratch that each thread brings for them. */
static inline size_t frbm_split_moments_scratch(const struct frbm_split_buffers *b) {
    (void)b;
    return 0;
}

#endif

/*
 * Carving a caller's workspace into aligned pieces. The same function lays it out twice: with a
 * NULL base to find the size, with the real one to get the pointers.
 */
#ifndef FRBM_CORE_WORKSPACE_H
#define FRBM_CORE_WORKSPACE_H

#include <stddef.h>
#include <stdint.h>

#define FRBM_ALIGNMENT 64 /* a cache line, and the widest vector */

typedef struct {
    char *base; /* NULL while measuring */
    size_t used;
} frbm_workspace_t;

static inline frbm_workspace_t frbm_workspace(void *base) {
    const uintptr_t address = (uintptr_t)base;
    const uintptr_t aligned = (address + FRBM_ALIGNMENT - 1) / FRBM_ALIGNMENT * FRBM_ALIGNMENT;
    frbm_workspace_t w = {NULL, 0};
    if (base != NULL) w.base = (char *)base + (aligned - address);
    return w;
}

static inline void *frbm_workspace_take(frbm_workspace_t *w, size_t size) {
    void *piece = w->base == NULL ? NULL : w->base + w->used;
    w->used += (size + FRBM_ALIGNMENT - 1) / FRBM_ALIGNMENT * FRBM_ALIGNMENT;
    return piece;
}

/* Bytes to ask of the caller: what was taken, and room to align the base. */
static inline size_t frbm_workspace_size(const frbm_workspace_t *w) {
    return w->used + FRBM_ALIGNMENT;
}

#endif

/* Asking the caller, at most every 50 ms, whether to stop. */
#ifndef FRBM_CORE_POLL_H
#define FRBM_CORE_POLL_H

#include "fastrbm.h"

#define FRBM_POLL_SECONDS 0.05

double frbm_seconds(void);

typedef struct {
    const frbm_exec_t *exec;
    double last;
} frbm_poll_t;

frbm_poll_t frbm_poll_start(const frbm_exec_t *exec);

/* Non-zero when the caller wants to stop. */
int frbm_poll(frbm_poll_t *poll);

#endif

/*
 * Numbered pieces of work for a team: whoever is free takes the next. A piece is done whole by one
 * thread, so that results do not depend on who took it; long ones ask now and then whether to stop.
 */
#ifndef FRBM_CORE_SHARE_H
#define FRBM_CORE_SHARE_H

#include "stop.h"
#include "team.h"

typedef void (*frbm_piece_t)(void *context, uint64_t number, const frbm_team_t *team,
                             frbm_stop_t *stop);

/* The pieces [0, n) by so many threads. FRBM_STOPPED if the poll said so: some are not done. The
 * calling thread polls until all have come to their end. */
int frbm_share(const frbm_exec_t *exec, int n_threads, uint64_t n, frbm_piece_t piece,
               void *context);

#endif

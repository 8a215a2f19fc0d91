/*
 * How many threads are worth it at the moment.
 *
 * Threads that meet every few microseconds need a core each: where another program holds one of them, every
 * meeting waits for a time slice, and two threads can be ten times slower than one. So work is cut into pieces of
 * some milliseconds. After a piece in which the threads waited for each other for more than half of what they
 * could win, one thread does the next piece; the faster way goes on, and the other is tried again now and then.
 * Results must not depend on the number of threads.
 */
#ifndef FRBM_CORE_PACE_H
#define FRBM_CORE_PACE_H

/* Pieces until a way that was slower is tried again: doubled each time, up to the larger number. */
#define FRBM_PACE_FIRST 8
#define FRBM_PACE_MOST 128

typedef struct {
    int most;      /* threads that there are */
    int n_threads; /* of the next piece: all of them, or one */
    double alone;  /* work a second that one thread did, */
    double together;
    int left;   /* pieces until the other way is tried, */
    int pieces; /* and the next time */
} frbm_pace_t;

frbm_pace_t frbm_pace_start(int n_threads);

/* A piece is done, of so much work, in so many seconds, of which all threads together waited for `waited`. */
void frbm_pace_done(frbm_pace_t *pace, double work, double seconds, double waited);

#endif

/* What is asked of all rows of a data set before training; blocks of rows are shared among threads. */
#ifndef FRBM_ALGORITHMS_DATA_H
#define FRBM_ALGORITHMS_DATA_H

#include "fastrbm.h"
#include "fastrbm/core/array.h"

/* What values there are and, with sums (n_cols), the sums of the columns, which want a workspace of
 * frbm_data_sums_size(n_cols) bytes. Returns FRBM_OK, or FRBM_STOPPED if the poll said so. */
size_t frbm_data_sums_size(size_t n_cols);
int frbm_data_scan(const frbm_array_t *array, const frbm_exec_t *exec, double *workspace,
                   frbm_scan_t *scan, double *sums);

#endif

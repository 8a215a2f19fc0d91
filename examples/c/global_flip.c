// A model trained in Python inside a Monte-Carlo loop in C: block Gibbs sweeps, with a global flip
// after every few of them. Sweeps alone rarely cross from a state to its mirror image; the flip
// v -> -v does it in one step. It is accepted with probability min(1, exp(F(v) - F(-v))), F being
// the free energy, so that p(v) ~ exp(-F(v)) stays as it is.
//
// In Python, with an RBM that has Spin visible units:
//
//     pathlib.Path("model.rbm").write_bytes(rbm.to_bytes())
//
// Compile and run, in the checkout:
//
//     cc -O3 -fopenmp -Icsrc examples/c/global_flip.c csrc/fastrbm/*/*.c -lm -o global_flip
//     ./global_flip model.rbm 12345
//
// The key, 12345 here, stands for all random numbers: one key, one result. It is what Python calls
// result.info["key"]; with the same key fastrbm.sample draws the same states.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "fastrbm.h"

enum { N_CHAINS = 16, N_STEPS = 200, N_SWEEPS = 3 };

// The program's own random numbers, for accepting flips (splitmix64, Steele et al., OOPSLA 2014).
static double uniform(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static void *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    void *bytes = malloc(*size); // malloc's alignment is enough for a byte block
    if (bytes != NULL && fread(bytes, 1, *size, file) != *size) {
        free(bytes);
        bytes = NULL;
    }
    fclose(file);
    return bytes;
}

// The flip of every chain by itself; returns how many were accepted.
static int flip(const frbm_rbm_t *rbm, const frbm_exec_t *exec, int8_t *v, uint64_t *random,
                double *free_energy, int *accepted) {
    const size_t n = rbm->visible.n;
    double mirrored[N_CHAINS];
    for (size_t i = 0; i < N_CHAINS * n; ++i) {
        v[i] = (int8_t)-v[i];
    }
    const int rc = frbm_rbm_free_energy(rbm, N_CHAINS, v, 1.0, exec, mirrored);
    for (size_t c = 0; c < N_CHAINS; ++c) {
        if (uniform(random) < exp(free_energy[c] - mirrored[c])) {
            free_energy[c] = mirrored[c];
            *accepted += 1;
        } else {
            for (size_t i = 0; i < n; ++i) {
                v[c * n + i] = (int8_t)-v[c * n + i];
            }
        }
    }
    return rc;
}

static int run(const frbm_rbm_t *rbm, uint64_t key, void *workspace, size_t size, int8_t *v) {
    frbm_exec_t exec;
    frbm_rng_t rng;
    frbm_exec_init(&exec);
    frbm_rng_init(&rng, key, 0);
    const size_t n = rbm->visible.n;
    for (size_t i = 0; i < N_CHAINS * n; ++i) {
        v[i] = 1;
    }
    double free_energy_sum = 0, magnetisation_sum = 0;
    int accepted = 0;
    uint64_t random = key;
    for (int step = 0; step < N_STEPS; ++step) {
        double free_energy[N_CHAINS];
        int rc =
            frbm_gibbs_sample(rbm, N_CHAINS, N_SWEEPS, 1.0, workspace, size, &exec, &rng, v, NULL);
        if (rc == FRBM_OK) {
            rc = frbm_rbm_free_energy(rbm, N_CHAINS, v, 1.0, &exec, free_energy);
        }
        if (rc == FRBM_OK) {
            rc = flip(rbm, &exec, v, &random, free_energy, &accepted);
        }
        if (rc != FRBM_OK) {
            return rc;
        }
        for (size_t c = 0; c < N_CHAINS; ++c) {
            int total = 0;
            for (size_t i = 0; i < n; ++i) {
                total += v[c * n + i];
            }
            free_energy_sum += free_energy[c];
            magnetisation_sum += total;
        }
    }
    const double n_states = (double)N_CHAINS * N_STEPS;
    printf("mean_free_energy %.17g\n", free_energy_sum / n_states);
    printf("magnetisation %.17g\n", magnetisation_sum / (n_states * (double)n));
    printf("flips_accepted %d\n", accepted);
    return FRBM_OK;
}

int main(int argc, char **argv) {
    size_t block_size = 0;
    void *block = argc == 3 ? read_file(argv[1], &block_size) : NULL;
    if (block == NULL) {
        fprintf(stderr, "usage: global_flip MODEL KEY, with MODEL made by rbm.to_bytes()\n");
        return 2;
    }
    frbm_rbm_t rbm;
    int rc = frbm_rbm_from_bytes(&rbm, block, block_size);
    if (rc == FRBM_OK && rbm.visible.unit != FRBM_SPIN) {
        rc = FRBM_ERROR_UNIT;
    }
    if (rc == FRBM_OK) {
        const size_t size = frbm_gibbs_workspace_size(&rbm, N_CHAINS);
        void *workspace = malloc(size);
        int8_t *v = malloc(N_CHAINS * rbm.visible.n);
        if (workspace != NULL && v != NULL) {
            rc = run(&rbm, strtoull(argv[2], NULL, 10), workspace, size, v);
        } else {
            rc = FRBM_ERROR_WORKSPACE;
        }
        free(v);
        free(workspace);
    }
    free(block);
    if (rc != FRBM_OK) {
        fprintf(stderr, "%s\n", frbm_strerror(rc));
        return 1;
    }
    return 0;
}

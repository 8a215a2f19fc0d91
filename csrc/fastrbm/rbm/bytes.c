/* Models as byte blocks; the layout is at the end of fastrbm.h. */
#include <string.h>

#include "check.h"

#define FORMAT_VERSION 1
#define CHECKSUM_AT 48
static const char MAGIC[8] = {'F', 'R', 'B', 'M', 'R', 'B', 'M', '\0'};

static int is_little_endian(void) {
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

static size_t padded_bytes(size_t n, int dtype) { return (n * frbm_real_size(dtype) + 7) / 8 * 8; }

static size_t layer_bytes(const frbm_layer_t *layer, int dtype) {
    return (size_t)frbm_unit(layer->unit)->n_parameters * padded_bytes(layer->n, dtype);
}

/* FNV-1a (Fowler, Noll, Vo) over 64-bit words, leaving out the checksum itself. */
static uint64_t checksum(const char *block, size_t size) {
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t at = 0; at + 8 <= size; at += 8) {
        uint64_t word;
        if (at == CHECKSUM_AT) continue;
        memcpy(&word, block + at, 8);
        hash = (hash ^ word) * 0x100000001B3u;
    }
    return hash;
}

size_t frbm_rbm_block_size(const frbm_rbm_t *rbm) {
    return FRBM_BLOCK_HEADER + layer_bytes(&rbm->visible, rbm->dtype) +
           layer_bytes(&rbm->hidden, rbm->dtype) +
           padded_bytes(rbm->visible.n * rbm->hidden.n, rbm->dtype);
}

static char *put(char *to, const void *from, size_t n, int dtype) {
    memcpy(to, from, n * frbm_real_size(dtype));
    return to + padded_bytes(n, dtype);
}

int frbm_rbm_to_bytes(const frbm_rbm_t *rbm, void *block, size_t size) {
    const int rc = frbm_rbm_check_shape(rbm);
    if (rc < 0) return rc;
    if (!is_little_endian()) return FRBM_ERROR_BYTE_ORDER;
    if (block == NULL || size < frbm_rbm_block_size(rbm)) return FRBM_ERROR_WORKSPACE;
    size = frbm_rbm_block_size(rbm);
    const uint32_t words[4] = {FORMAT_VERSION, (uint32_t)rbm->dtype, (uint32_t)rbm->visible.unit,
                               (uint32_t)rbm->hidden.unit};
    const uint64_t sizes[3] = {rbm->visible.n, rbm->hidden.n, size};
    char *to = (char *)block;
    memset(block, 0, size);
    memcpy(to, MAGIC, sizeof MAGIC);
    memcpy(to + 8, words, sizeof words);
    memcpy(to + 24, sizes, sizeof sizes);
    to += FRBM_BLOCK_HEADER;
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side) {
        const frbm_layer_t *layer = frbm_rbm_layer(rbm, side);
        for (int k = 0; k < frbm_unit(layer->unit)->n_parameters; ++k)
            to = put(to, layer->parameters[k], layer->n, rbm->dtype);
    }
    put(to, rbm->weights, rbm->visible.n * rbm->hidden.n, rbm->dtype);
    const uint64_t sum = checksum((const char *)block, size);
    memcpy((char *)block + CHECKSUM_AT, &sum, sizeof sum);
    return FRBM_OK;
}

int frbm_rbm_from_bytes(frbm_rbm_t *rbm, const void *block, size_t size) {
    uint32_t words[4];
    uint64_t sizes[3], sum;
    const char *at = (const char *)block;
    if (rbm == NULL || block == NULL) return FRBM_ERROR_ARGUMENT;
    if (!is_little_endian()) return FRBM_ERROR_BYTE_ORDER;
    if (size < sizeof MAGIC) return FRBM_ERROR_TRUNCATED;
    if (memcmp(block, MAGIC, sizeof MAGIC) != 0) return FRBM_ERROR_MAGIC;
    if (size < FRBM_BLOCK_HEADER) return FRBM_ERROR_TRUNCATED;
    if ((uintptr_t)block % 8 != 0) return FRBM_ERROR_ALIGNMENT;
    memcpy(words, at + 8, sizeof words);
    memcpy(sizes, at + 24, sizeof sizes);
    memcpy(&sum, at + CHECKSUM_AT, sizeof sum);
    if (words[0] != FORMAT_VERSION) return FRBM_ERROR_FORMAT;
    if (words[1] != FRBM_FLOAT32 && words[1] != FRBM_FLOAT64) return FRBM_ERROR_DTYPE;

    memset(rbm, 0, sizeof *rbm);
    rbm->dtype = (int)words[1];
    rbm->visible.unit = (int)words[2];
    rbm->hidden.unit = (int)words[3];
    if (frbm_unit(rbm->visible.unit) == NULL || frbm_unit(rbm->hidden.unit) == NULL)
        return FRBM_ERROR_UNIT;
    /* Sizes are compared before anything is multiplied, so that nothing can overflow. */
    if (sizes[2] > size) return FRBM_ERROR_TRUNCATED;
    if (sizes[2] < size) return FRBM_ERROR_CORRUPT;
    if (sizes[0] == 0 || sizes[1] == 0 || sizes[0] > sizes[2] || sizes[1] > sizes[2] / sizes[0])
        return FRBM_ERROR_CORRUPT;
    rbm->visible.n = (size_t)sizes[0];
    rbm->hidden.n = (size_t)sizes[1];
    if (frbm_rbm_block_size(rbm) != sizes[2]) return FRBM_ERROR_CORRUPT;
    if (checksum(at, (size_t)sizes[2]) != sum) return FRBM_ERROR_CORRUPT;

    at += FRBM_BLOCK_HEADER;
    frbm_layer_t *layers[2] = {&rbm->visible, &rbm->hidden};
    for (int side = 0; side < 2; ++side)
        for (int k = 0; k < frbm_unit(layers[side]->unit)->n_parameters; ++k) {
            layers[side]->parameters[k] = at;
            at += padded_bytes(layers[side]->n, rbm->dtype);
        }
    rbm->weights = at;
    return frbm_rbm_check(rbm);
}

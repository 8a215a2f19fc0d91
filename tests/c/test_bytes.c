/* Byte blocks: bits preserved; anything damaged gives a code and no read past the end. */
#include "model.h"

static void same_model(const frbm_rbm_t *a, const frbm_rbm_t *b) {
    CHECK(a->dtype == b->dtype && a->visible.unit == b->visible.unit);
    CHECK(a->hidden.unit == b->hidden.unit && a->visible.n == b->visible.n);
    CHECK(memcmp(a->weights, b->weights, a->visible.n * a->hidden.n * sizeof(float)) == 0);
    CHECK(memcmp(a->visible.parameters[0], b->visible.parameters[0],
                 a->visible.n * sizeof(float)) == 0);
}

static void round_trip_and_damage(int visible, int hidden) {
    frbm_rbm_t rbm = make_model(visible, 7, hidden, 3), back;
    const size_t size = frbm_rbm_block_size(&rbm);
    char *bytes = (char *)block(size);
    CHECK(frbm_rbm_to_bytes(&rbm, bytes, size - 1) == FRBM_ERROR_WORKSPACE);
    CHECK(frbm_rbm_to_bytes(&rbm, bytes, size) == FRBM_OK);
    CHECK(frbm_rbm_from_bytes(&back, bytes, size) == FRBM_OK);
    same_model(&rbm, &back);

    for (size_t cut = 0; cut < size; ++cut) { /* each prefix in a block of its own size */
        char *part = (char *)block(cut);
        memcpy(part, bytes, cut);
        CHECK(frbm_rbm_from_bytes(&back, part, cut) < 0);
        free(part);
    }
    for (size_t at = 0; at < size; ++at)
        for (int flip = 1; flip < 256; flip *= 4) {
            bytes[at] = (char)(bytes[at] ^ flip);
            CHECK(frbm_rbm_from_bytes(&back, bytes, size) < 0);
            bytes[at] = (char)(bytes[at] ^ flip);
        }
    char *longer = (char *)block(size + 8);
    memset(longer, 0, size + 8);
    memcpy(longer, bytes, size);
    CHECK(frbm_rbm_from_bytes(&back, longer, size + 8) == FRBM_ERROR_CORRUPT);
    free(longer);
    char *shifted = (char *)block(size + 8);
    memcpy(shifted + 4, bytes, size);
    CHECK(frbm_rbm_from_bytes(&back, shifted + 4, size) == FRBM_ERROR_ALIGNMENT);
    CHECK(frbm_rbm_from_bytes(&back, NULL, size) == FRBM_ERROR_ARGUMENT);
    CHECK(frbm_rbm_from_bytes(NULL, bytes, size) == FRBM_ERROR_ARGUMENT);
    CHECK(frbm_rbm_from_bytes(&back, bytes, size) == FRBM_OK);
    free(shifted);
    free(bytes);
    free_model(&rbm);
}

static void not_finite(void) {
    frbm_rbm_t rbm = make_model(FRBM_BERNOULLI, 4, FRBM_GAUSSIAN, 2), back;
    char *bytes = (char *)block(frbm_rbm_block_size(&rbm));
    ((float *)(uintptr_t)rbm.hidden.parameters[1])[1] = 0; /* a precision */
    CHECK(frbm_rbm_check(&rbm) == FRBM_ERROR_PARAMETER);
    CHECK(frbm_rbm_to_bytes(&rbm, bytes, frbm_rbm_block_size(&rbm)) == FRBM_OK);
    CHECK(frbm_rbm_from_bytes(&back, bytes, frbm_rbm_block_size(&rbm)) == FRBM_ERROR_PARAMETER);
    free(bytes);
    free_model(&rbm);
}

static void messages(void) {
    for (int code = -100; code <= 10; ++code)
        CHECK(frbm_strerror(code) != NULL && frbm_strerror(code)[0] != '\0');
    CHECK(strcmp(frbm_strerror(FRBM_ERROR_STATE), frbm_strerror(-99)) != 0);
    CHECK(strcmp(frbm_version(), FRBM_VERSION) == 0);
}

int main(void) {
    for (int visible = FRBM_BERNOULLI; visible <= FRBM_GAUSSIAN; ++visible)
        for (int hidden = FRBM_BERNOULLI; hidden <= FRBM_GAUSSIAN; ++hidden)
            round_trip_and_damage(visible, hidden);
    not_finite();
    messages();
    return 0;
}

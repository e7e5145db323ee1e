/* search.c - which of some texts is closest to a question: vectors of all, one product each.
 *
 *     cc search.c $(pkg-config --cflags --libs smallmind) -o search
 *     ./search all-MiniLM-L6-v2 "Who eats fish?" "A cat." "A car." "A planet."
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <smallmind/smallmind.h>

static double product(const float *a, const float *b, uint32_t n) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

int main(int argc, char **argv) {
    sm_model *model = NULL;
    sm_encoder *encoder = NULL;
    sm_error error;
    sm_encoder_info info = {.struct_size = sizeof info};
    if (argc < 4) {
        fprintf(stderr, "usage: search MODEL QUESTION TEXT...\n");
        return 2;
    }
    const uint64_t n = (uint64_t)argc - 2; /* the question is the first of them */
    sm_text *texts = malloc(n * sizeof *texts);
    float *vectors = NULL;
    sm_status status = sm_model_load(&model, argv[1], NULL, &error);
    if (status == SM_OK)
        status = sm_encoder_new(&encoder, model, NULL, &error);
    if (status == SM_OK)
        status = sm_encoder_get_info(encoder, &info, &error);
    if (status == SM_OK && texts != NULL) {
        for (uint64_t i = 0; i < n; i++)
            texts[i] = (sm_text){argv[2 + i], SM_ZT};
        vectors = calloc(n * info.n_dims, sizeof *vectors);
        status = sm_encoder_embed(encoder, texts, n, vectors, n * info.n_dims, &error);
    }
    if (status != SM_OK)
        fprintf(stderr, "search: %s\n", error.message);
    for (uint64_t i = 1; i < n && status == SM_OK && vectors != NULL; i++)
        printf("%.4f  %s\n", product(vectors, vectors + i * info.n_dims, info.n_dims),
               texts[i].text);
    free(vectors);
    free(texts);
    sm_encoder_free(encoder);
    sm_model_free(model);
    return status == SM_OK ? 0 : 1;
}

/* Matrix products in phases: the crew packs panels of a block of A and of B together, meets,
 * and multiplies tiles of them. Panels and tiles are handed out one lot after another by a
 * counter, since threads seldom run equally fast; who computes a tile does not change it.
 *
 * K is cut into slabs whose depth depends on K and the level only. Every element of C is
 * C + slab 0 + slab 1 + ... in this order; so where C has few tiles the slabs are computed
 * side by side into sums of their own and added afterwards, with the same bits.
 */
#include "train.h"

#ifdef SM_OPENBLAS
#include <cblas.h>
#endif

/* Bytes of panels (and of sums of slabs) that a phase uses: shared by the crew, and of each
 * thread alone. Large enough that packing is a small part of the work. */
#define SHARED_BYTES ((uint64_t)12 << 20)
#define ALONE_BYTES ((uint64_t)3 << 19)
/* Rows and columns of C that one lot of tiles covers at most: the panels of A stay in the
 * second-level cache while those of B go by. */
#define LOT_ROWS 288
#define LOT_COLUMNS 256
#define PACK_WIDTH 256
#define LOTS_PER_THREAD 12

/* What one product uses at a time; used by turns. */
typedef struct workspace {
    _Alignas(SM_ALIGN) _Atomic uint64_t next_panel;
    _Alignas(SM_ALIGN) _Atomic uint64_t next_lot;
    uint8_t *bytes;
    uint64_t capacity;
} workspace;

struct sm_gemm_scratch {
    sm_mem *mem;
    uint32_t n_threads;
    bool openblas;
    workspace shared;
    workspace *own; /* [n_threads] */
};

sm_status sm_gemm_scratch_new(sm_gemm_scratch **out, sm_mem *mem, uint32_t n_threads,
                              sm_error *error) {
    *out = NULL;
    sm_gemm_scratch *made = sm_alloc_zero(mem, sizeof *made);
    if (!made)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for matrix products");
    made->mem = mem;
    made->own = sm_alloc_zero(mem, n_threads * sizeof *made->own);
    made->shared.capacity = SHARED_BYTES;
    made->shared.bytes = sm_alloc(mem, SHARED_BYTES);
    bool ok = made->own && made->shared.bytes;
    for (; ok && made->n_threads < n_threads; made->n_threads++) {
        workspace *own = &made->own[made->n_threads];
        own->capacity = ALONE_BYTES;
        own->bytes = sm_alloc(mem, ALONE_BYTES);
        ok = own->bytes != NULL;
    }
    if (!ok) {
        sm_gemm_scratch_free(made);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for matrix products of %u threads",
                       n_threads);
    }
    *out = made;
    return SM_OK;
}

void sm_gemm_scratch_free(sm_gemm_scratch *scratch) {
    if (!scratch)
        return;
    for (uint32_t i = 0; i < scratch->n_threads; i++)
        sm_free(scratch->mem, scratch->own[i].bytes);
    sm_free(scratch->mem, scratch->own);
    sm_free(scratch->mem, scratch->shared.bytes);
    sm_free(scratch->mem, scratch);
}

/* ---- the cut ------------------------------------------------------------------------ */

typedef struct product {
    const sm_gemm_args *args;
    const sm_tile_kernels *tile;
    workspace *space;
    sm_team *team; /* NULL: alone */
    uint32_t thread, n_threads;
    const sm_crew *crew; /* asked whether to go on; NULL: alone */
    /* sizes in panels */
    uint64_t rows, columns;             /* of C */
    uint64_t block_rows, block_columns; /* of a phase at most */
    uint64_t depth, n_slabs;            /* of a slab (the last may be shorter) */
    uint64_t phase_slabs;      /* slabs in one phase; above 1 they have sums of their own */
    uint64_t a_bytes, b_bytes; /* of one panel of a whole slab */
} product;

/* A part of C and some slabs, and where they lie in the workspace. */
typedef struct phase {
    uint64_t row, n_rows, column, n_columns; /* panels */
    uint64_t slab, n_slabs;
    uint64_t pack_rows, pack_columns; /* panels of one lot of packing */
    uint64_t lot_rows, lot_columns;   /* and of multiplying */
} phase;

static uint64_t divide_up(uint64_t a, uint64_t b) {
    return (a + b - 1) / b;
}

static uint64_t tile_bytes(const product *p) {
    return (uint64_t)p->tile->mr * p->tile->nr * sizeof(float);
}

/* n in equal pieces of at most `most`. */
static uint64_t even_pieces(uint64_t n, uint64_t most) {
    return divide_up(n, divide_up(n, max_u64(most, 1)));
}

static void cut(product *p) {
    const sm_gemm_args *g = p->args;
    p->rows = divide_up(g->M, p->tile->mr);
    p->columns = divide_up(g->N, p->tile->nr);
    p->n_slabs = divide_up(g->K, p->tile->kc);
    p->depth = divide_up(g->K, p->n_slabs);
    p->depth += p->depth % 2;
    p->n_slabs = divide_up(g->K, p->depth);
    p->a_bytes = sm_panel_bytes(p->tile->mr, p->depth, p->tile->element_bytes);
    p->b_bytes = sm_panel_bytes(p->tile->nr, p->depth, p->tile->element_bytes);
    p->phase_slabs = 1;
    const uint64_t capacity = p->space->capacity, tiles = p->rows * p->columns;
    if (p->n_threads > 1 && tiles < 4 * p->n_threads) {
        const uint64_t slab =
            p->rows * p->a_bytes + p->columns * p->b_bytes + tiles * tile_bytes(p);
        const uint64_t most = min_u64(capacity / slab, p->n_slabs);
        if (most > 1) {
            p->phase_slabs = even_pieces(p->n_slabs, most);
            p->block_rows = p->rows;
            p->block_columns = p->columns;
            return;
        }
    }
    /* the smaller side whole where it leaves half for the other */
    if (p->rows * p->a_bytes <= capacity / 2) {
        p->block_rows = p->rows;
        p->block_columns = even_pieces(p->columns, (capacity - p->rows * p->a_bytes) / p->b_bytes);
    } else if (p->columns * p->b_bytes <= capacity / 2) {
        p->block_columns = p->columns;
        p->block_rows = even_pieces(p->rows, (capacity - p->columns * p->b_bytes) / p->a_bytes);
    } else {
        p->block_rows = even_pieces(p->rows, capacity / 2 / p->a_bytes);
        p->block_columns = even_pieces(p->columns, capacity / 2 / p->b_bytes);
    }
}

/* ---- packing ------------------------------------------------------------------------ */

static uint64_t slab_depth(const product *p, uint64_t slab) {
    return min_u64(p->depth, p->args->K - slab * p->depth);
}

/* In the workspace: for each slab of the phase panels of A, panels of B; then the sums. */
static uint8_t *panels_of_slab(const product *p, const phase *f, uint64_t slab) {
    return p->space->bytes +
           (slab - f->slab) * (f->n_rows * p->a_bytes + f->n_columns * p->b_bytes);
}

/* Lot i of the phase: some panels of A, or of B, of one slab. */
static void pack(const product *p, const phase *f, uint64_t i) {
    const sm_gemm_args *g = p->args;
    const sm_tile_kernels *t = p->tile;
    const uint64_t a_lots = divide_up(f->n_rows, f->pack_rows);
    const uint64_t lots = a_lots + divide_up(f->n_columns, f->pack_columns);
    const uint64_t slab = f->slab + i / lots, k0 = slab * p->depth, k = slab_depth(p, slab);
    uint8_t *panels = panels_of_slab(p, f, slab);
    i %= lots;
    if (i < a_lots) {
        const uint64_t panel = i * f->pack_rows;
        const uint64_t n_panels = min_u64(f->pack_rows, f->n_rows - panel);
        const uint64_t m = (f->row + panel) * t->mr, n = min_u64(n_panels * t->mr, g->M - m);
        const float *src = g->a + (g->a_transposed ? k0 * g->lda + m : m * g->lda + k0);
        (g->a_transposed ? t->rows : t->columns)(
            panels + panel * sm_panel_bytes(t->mr, k, t->element_bytes), t->mr, src, g->lda, n, k);
    } else {
        const uint64_t panel = (i - a_lots) * f->pack_columns;
        const uint64_t n_panels = min_u64(f->pack_columns, f->n_columns - panel);
        const uint64_t m = (f->column + panel) * t->nr, n = min_u64(n_panels * t->nr, g->N - m);
        const float *src = g->b + (g->b_transposed ? m * g->ldb + k0 : k0 * g->ldb + m);
        (g->b_transposed ? t->columns : t->rows)(
            panels + f->n_rows * p->a_bytes + panel * sm_panel_bytes(t->nr, k, t->element_bytes),
            t->nr, src, g->ldb, n, k);
    }
}

/* ---- multiplying ------------------------------------------------------------------------ */

static float *sums_of_tile(const product *p, const phase *f, uint64_t slab, uint64_t row,
                           uint64_t column) {
    const uint64_t tiles = f->n_rows * f->n_columns;
    return (float *)(panels_of_slab(p, f, f->slab + f->n_slabs) +
                     ((slab - f->slab) * tiles + row * f->n_columns + column) * tile_bytes(p));
}

/* One tile of one slab; row and column in panels of the phase. */
static void multiply(const product *p, const phase *f, uint64_t slab, uint64_t row,
                     uint64_t column) {
    const sm_gemm_args *g = p->args;
    const uint8_t *panels = panels_of_slab(p, f, slab);
    const uint64_t k = slab_depth(p, slab);
    const uint8_t *a = panels + row * sm_panel_bytes(p->tile->mr, k, p->tile->element_bytes);
    const uint8_t *b = panels + f->n_rows * p->a_bytes +
                       column * sm_panel_bytes(p->tile->nr, k, p->tile->element_bytes);
    const uint64_t m0 = (f->row + row) * p->tile->mr, n0 = (f->column + column) * p->tile->nr;
    const uint64_t m = min_u64(p->tile->mr, g->M - m0), n = min_u64(p->tile->nr, g->N - n0);
    if (f->n_slabs > 1)
        p->tile->product(sums_of_tile(p, f, slab, row, column), p->tile->nr, a, b, k, m, n, false);
    else
        p->tile->product(g->c + m0 * g->ldc + n0, g->ldc, a, b, k, m, n, g->accumulate || slab > 0);
}

/* How many panels one lot of tiles takes each way. */
static void choose_lots(const product *p, phase *f) {
    const uint64_t lots = (uint64_t)LOTS_PER_THREAD * p->n_threads;
    f->lot_rows = min_u64(f->n_rows, max_u64(LOT_ROWS / p->tile->mr, 1));
    f->lot_columns = min_u64(f->n_columns, max_u64(LOT_COLUMNS / p->tile->nr, 1));
    if (p->n_threads == 1)
        return;
    while (f->lot_columns > 1 && divide_up(f->n_rows, f->lot_rows) *
                                         divide_up(f->n_columns, f->lot_columns) * f->n_slabs <
                                     lots)
        f->lot_columns = divide_up(f->lot_columns, 2);
    while (f->lot_rows > 1 && divide_up(f->n_rows, f->lot_rows) *
                                      divide_up(f->n_columns, f->lot_columns) * f->n_slabs <
                                  lots)
        f->lot_rows = divide_up(f->lot_rows, 2);
}

static bool stopped(const product *p) {
    return p->crew && sm_crew_stopped(p->crew);
}

static void multiply_lot(const product *p, const phase *f, uint64_t slab, uint64_t row,
                         uint64_t column) {
    const uint64_t row_end = min_u64(row + f->lot_rows, f->n_rows);
    const uint64_t column_end = min_u64(column + f->lot_columns, f->n_columns);
    for (uint64_t j = column; j < column_end && !stopped(p); j++)
        for (uint64_t i = row; i < row_end; i++)
            multiply(p, f, slab, i, j);
}

/* C + slab + slab ... of one tile. */
static void add_slabs(const product *p, const phase *f, uint64_t tile) {
    const sm_gemm_args *g = p->args;
    const uint64_t row = tile / f->n_columns, column = tile % f->n_columns;
    const uint64_t m0 = (f->row + row) * p->tile->mr, n0 = (f->column + column) * p->tile->nr;
    const uint64_t m = min_u64(p->tile->mr, g->M - m0), n = min_u64(p->tile->nr, g->N - n0);
    for (uint64_t slab = f->slab; slab < f->slab + f->n_slabs; slab++) {
        const float *sum = sums_of_tile(p, f, slab, row, column);
        for (uint64_t i = 0; i < m; i++) {
            float *c = g->c + (m0 + i) * g->ldc + n0;
            for (uint64_t j = 0; j < n; j++) {
                const float s = sum[i * p->tile->nr + j];
                c[j] = g->accumulate || slab > 0 ? c[j] + s : s;
            }
        }
    }
}

static void meet(const product *p) {
    if (p->team)
        sm_team_barrier(p->team);
}

static uint64_t take(_Atomic uint64_t *counter) {
    return atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* Each counter is set back by one thread while all are at the other one. */
static void set_back(const product *p, _Atomic uint64_t *counter) {
    if (p->thread == 0)
        atomic_store_explicit(counter, 0, memory_order_relaxed);
}

static void run_phase(const product *p, phase *f) {
    f->pack_rows = divide_up(PACK_WIDTH, p->tile->mr);
    f->pack_columns = divide_up(PACK_WIDTH, p->tile->nr);
    const uint64_t n_packs =
        (divide_up(f->n_rows, f->pack_rows) + divide_up(f->n_columns, f->pack_columns)) *
        f->n_slabs;
    set_back(p, &p->space->next_lot);
    for (uint64_t i; (i = take(&p->space->next_panel)) < n_packs;)
        pack(p, f, i);
    meet(p);

    set_back(p, &p->space->next_panel);
    choose_lots(p, f);
    const uint64_t across = divide_up(f->n_columns, f->lot_columns);
    const uint64_t n_lots = across * divide_up(f->n_rows, f->lot_rows);
    for (uint64_t i; (i = take(&p->space->next_lot)) < n_lots * f->n_slabs;)
        multiply_lot(p, f, f->slab + i / n_lots, i % n_lots / across * f->lot_rows,
                     i % across * f->lot_columns);
    meet(p);

    if (f->n_slabs > 1) {
        uint64_t begin, end;
        sm_share(f->n_rows * f->n_columns, p->thread, p->n_threads, &begin, &end);
        for (uint64_t i = begin; i < end; i++)
            add_slabs(p, f, i);
        meet(p);
    }
}

static void run_tiles(product *p) {
    cut(p);
    for (uint64_t row = 0; row < p->rows; row += p->block_rows)
        for (uint64_t column = 0; column < p->columns; column += p->block_columns)
            for (uint64_t slab = 0; slab < p->n_slabs; slab += p->phase_slabs)
                run_phase(p, &(phase){
                                 .row = row,
                                 .n_rows = min_u64(p->block_rows, p->rows - row),
                                 .column = column,
                                 .n_columns = min_u64(p->block_columns, p->columns - column),
                                 .slab = slab,
                                 .n_slabs = min_u64(p->phase_slabs, p->n_slabs - slab),
                             });
}

/* ---- OpenBLAS ----------------------------------------------------------------------- */

sm_status sm_gemm_use_openblas(sm_gemm_scratch *scratch, bool use, sm_error *error) {
#ifndef SM_OPENBLAS
    if (use)
        return sm_fail(error, SM_ERR_UNSUPPORTED, "this library was built without OpenBLAS");
#endif
    (void)error;
    scratch->openblas = use;
    return SM_OK;
}

#ifdef SM_OPENBLAS
/* Of C, for one call; does not depend on the threads, so neither do the bits. */
#define BLAS_ROWS 256
#define BLAS_COLUMNS 384

static void blas_block(const sm_gemm_args *g, uint64_t m, uint64_t n) {
    cblas_sgemm(CblasRowMajor, g->a_transposed ? CblasTrans : CblasNoTrans,
                g->b_transposed ? CblasTrans : CblasNoTrans, (blasint)min_u64(BLAS_ROWS, g->M - m),
                (blasint)min_u64(BLAS_COLUMNS, g->N - n), (blasint)g->K, 1,
                g->a + (g->a_transposed ? m : m * g->lda), (blasint)g->lda,
                g->b + (g->b_transposed ? n * g->ldb : n), (blasint)g->ldb, g->accumulate ? 1 : 0,
                g->c + m * g->ldc + n, (blasint)g->ldc);
}

/* False where sizes do not fit OpenBLAS's int. */
static bool blas_can(const sm_gemm_args *g) {
    return g->precision == SM_PRECISION_F32 && g->K <= INT32_MAX && g->lda <= INT32_MAX &&
           g->ldb <= INT32_MAX && g->ldc <= INT32_MAX;
}

static void run_blas(const product *p) {
    const sm_gemm_args *g = p->args;
    const uint64_t across = divide_up(g->N, BLAS_COLUMNS);
    const uint64_t n_blocks = across * divide_up(g->M, BLAS_ROWS);
    set_back(p, &p->space->next_lot);
    meet(p);
    for (uint64_t i; (i = take(&p->space->next_lot)) < n_blocks && !stopped(p);)
        blas_block(g, i / across * BLAS_ROWS, i % across * BLAS_COLUMNS);
    meet(p);
}
#endif

/* ---- interface ------------------------------------------------------------------------ */

static void run(const sm_crew *crew, product *p) {
#ifdef SM_OPENBLAS
    if (crew->gemm->openblas && blas_can(p->args)) {
        run_blas(p);
        return;
    }
#endif
    p->tile =
        &crew->kernels->tile[p->args->precision == SM_PRECISION_BF16 ? SM_TILE_BF16 : SM_TILE_F32];
    run_tiles(p);
}

void sm_gemm(const sm_crew *crew, const sm_gemm_args *args) {
    run(crew, &(product){
                  .args = args,
                  .space = &crew->gemm->shared,
                  .team = crew->team,
                  .thread = crew->thread,
                  .n_threads = crew->n_threads,
                  .crew = crew,
              });
}

void sm_gemm_alone(const sm_crew *crew, const sm_gemm_args *args) {
    run(crew, &(product){
                  .args = args,
                  .space = &crew->gemm->own[crew->thread],
                  .n_threads = 1,
              });
}

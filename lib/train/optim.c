/* Optimizers and schedules. States and updates go element by element, so sharing them out
 * among threads changes no bit; sums (gradient norm, Adafactor's means) run over fixed pieces. */
#include "state8.h"
#include "train.h"

#include <math.h>
#include <string.h>

#define PIECE 4096 /* elements of one partial sum of the gradient norm */
/* Elements that a crew updates in one go, and between two questions whether to go on: some
 * milliseconds. Whole blocks of SM_STATE8_BLOCK. */
#define UPDATE_PIECE (1u << 19)
/* Adafactor (section 4, 5 and 7.2 of arXiv:1804.04235) */
#define ADAFACTOR_EPS 1e-30
#define ADAFACTOR_CLIP 1.0
#define ADAFACTOR_DECAY 0.8

/* What an optimizer keeps of one parameter. Which are there depends on its kind. */
typedef struct state {
    float *m, *v;     /* [n] AdamW; m: Lion, SGD; v: Adafactor's vectors */
    sm_state8 m8, v8; /* AdamW in 8 bits; v8 holds the square root of v */
    float *row, *col; /* [rows], [cols] Adafactor's matrices */
    double *row_sums; /* [rows] scratch */
} state;

/* Where an update stands: in a parameter, in one of the parts that Adafactor's has, from element
 * `at` on (Adafactor: row). */
typedef struct spot {
    uint32_t param, part;
    uint64_t at;
} spot;

struct sm_optim {
    sm_mem *mem;
    sm_optim_config config;
    const sm_params *params;
    state *states;  /* [params->n] */
    double *pieces; /* [n_pieces] partial sums */
    uint64_t n_pieces;
    sm_code8 *codes; /* 8-bit states only */
    uint64_t steps;
    /* written by thread 0 between barriers */
    bool unfinished, stopped;
    spot next;       /* of an unfinished update */
    double row_mean; /* of the parameter at hand: Adafactor's */
    float step_size;
};

static bool factored(const sm_optim *o, const sm_param *p) {
    return o->config.kind == SM_OPTIM_ADAFACTOR && p->rows > 1 && p->cols > 1;
}

static uint64_t count(const sm_param *p) {
    return p->rows * p->cols;
}

static sm_status check(const sm_optim_config *c, sm_error *error) {
    const struct {
        const char *name;
        double value, low, high;
    } fields[] = {{"beta1", c->beta1, 0, 1},
                  {"beta2", c->beta2, 0, 1},
                  {"momentum", c->momentum, 0, 1},
                  {"eps", c->eps, 0, 1},
                  {"weight decay", c->weight_decay, 0, 1e3}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!(fields[i].value >= fields[i].low && fields[i].value < fields[i].high))
            return sm_fail(error, SM_ERR_ARGUMENT, "%s %g is not in [%g, %g)", fields[i].name,
                           fields[i].value, fields[i].low, fields[i].high);
    if (c->kind > SM_OPTIM_SGD)
        return sm_fail(error, SM_ERR_ARGUMENT, "unknown optimizer %d", (int)c->kind);
    if (c->kind == SM_OPTIM_ADAMW && c->eps <= 0)
        return sm_fail(error, SM_ERR_ARGUMENT, "AdamW needs eps above 0");
    if (c->state_8bit && c->kind != SM_OPTIM_ADAMW)
        return sm_fail(error, SM_ERR_ARGUMENT, "8-bit states exist for AdamW only");
    return SM_OK;
}

/* Carries the first failure through many allocations. */
typedef struct maker {
    sm_optim *o;
    const sm_hook *hook;
    uint64_t done; /* weights whose states are made */
    bool cancelled;
} maker;

/* Elements that are cleared between two questions: some milliseconds, where each page is touched
 * for the first time. */
#define CLEAR_PIECE (1u << 18)

/* n zeros; NULL without memory, or once the hook says so. */
static float *zeros(maker *m, uint64_t n) {
    float *x = sm_alloc_array(m->o->mem, n, sizeof *x);
    for (uint64_t at = 0, k; x && at < n && !m->cancelled; at += k) {
        k = n - at < CLEAR_PIECE ? n - at : CLEAR_PIECE;
        memset(x + at, 0, k * sizeof *x);
        if (k == CLEAR_PIECE) /* small ones are counted by what they belong to */
            m->cancelled = sm_hook_ends(m->hook, m->done, m->o->params->n_elements);
    }
    return x;
}

static bool add_state(maker *m, const sm_param *p, state *s) {
    sm_optim *o = m->o;
    const uint64_t n = count(p);
    switch (o->config.kind) {
    case SM_OPTIM_ADAMW:
        if (o->config.state_8bit)
            return sm_state8_new(&s->m8, o->mem, n) && sm_state8_new(&s->v8, o->mem, n);
        s->m = zeros(m, n);
        s->v = zeros(m, n);
        return s->m && s->v;
    case SM_OPTIM_ADAFACTOR:
        s->row_sums = sm_alloc_array(o->mem, p->rows, sizeof *s->row_sums);
        if (!factored(o, p)) {
            s->v = zeros(m, n);
            return s->v && s->row_sums;
        }
        s->row = zeros(m, p->rows);
        s->col = zeros(m, p->cols);
        return s->row && s->col && s->row_sums;
    case SM_OPTIM_LION:
    case SM_OPTIM_SGD:
        s->m = zeros(m, n);
        return s->m;
    }
    return false;
}

sm_status sm_optim_new(sm_optim **out, sm_mem *mem, const sm_optim_config *config,
                       const sm_params *params, const sm_hook *hook, sm_error *error) {
    *out = NULL;
    sm_status status = check(config, error);
    if (status)
        return status;
    sm_optim *o = sm_alloc_zero(mem, sizeof *o);
    if (!o)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for an optimizer");
    o->mem = mem;
    o->config = *config;
    o->params = params;
    for (uint32_t i = 0; i < params->n; i++)
        o->n_pieces += (count(&params->param[i]) + PIECE - 1) / PIECE;
    o->states = sm_alloc_zero(mem, (params->n ? params->n : 1) * sizeof *o->states);
    o->pieces = sm_alloc_array(mem, o->n_pieces ? o->n_pieces : 1, sizeof *o->pieces);
    bool enough = o->states && o->pieces;
    if (enough && config->state_8bit) {
        o->codes = sm_alloc(mem, sizeof *o->codes);
        enough = o->codes;
        if (enough)
            sm_code8_init(o->codes);
    }
    maker m = {.o = o, .hook = hook};
    for (uint32_t i = 0; enough && !m.cancelled && i < params->n; i++) {
        enough = add_state(&m, &params->param[i], &o->states[i]);
        m.done += count(&params->param[i]);
        if (enough && !m.cancelled)
            m.cancelled = sm_hook_ends(hook, m.done, params->n_elements);
    }
    if (!enough || m.cancelled) {
        sm_optim_free(o);
        return m.cancelled ? sm_fail(error, SM_ERR_CANCELLED, "cancelled")
                           : sm_fail(error, SM_ERR_NOMEM,
                                     "out of memory for the optimizer's state (%llu weights)",
                                     (unsigned long long)params->n_elements);
    }
    *out = o;
    return SM_OK;
}

void sm_optim_free(sm_optim *o) {
    if (!o)
        return;
    for (uint32_t i = 0; o->states && i < o->params->n; i++) {
        state *s = &o->states[i];
        sm_free(o->mem, s->m);
        sm_free(o->mem, s->v);
        sm_free(o->mem, s->row);
        sm_free(o->mem, s->col);
        sm_free(o->mem, s->row_sums);
        sm_state8_free(&s->m8, o->mem);
        sm_state8_free(&s->v8, o->mem);
    }
    sm_free(o->mem, o->states);
    sm_free(o->mem, o->pieces);
    sm_free(o->mem, o->codes);
    sm_free(o->mem, o);
}

/* ---- gradient norm -------------------------------------------------------------------- */

static double sum_squares(const float *x, uint64_t n) {
    double lane[8] = {0};
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (uint64_t l = 0; l < 8; l++)
            lane[l] += (double)x[i + l] * (double)x[i + l];
    double sum = 0;
    for (uint64_t l = 0; l < 8; l++)
        sum += lane[l];
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

double sm_optim_grad_norm(const sm_crew *crew, sm_optim *o) {
    uint64_t begin, end, first = 0;
    sm_share(o->n_pieces, crew->thread, crew->n_threads, &begin, &end);
    for (uint32_t i = 0; i < o->params->n; i++) {
        const sm_param *p = &o->params->param[i];
        const uint64_t n = count(p), pieces = (n + PIECE - 1) / PIECE;
        for (uint64_t j = begin > first ? begin - first : 0; j < pieces && first + j < end; j++) {
            if (sm_crew_stopped_at(crew, j, PIECE))
                break;
            const uint64_t at = j * PIECE;
            o->pieces[first + j] = sum_squares(p->grad + at, n - at < PIECE ? n - at : PIECE);
        }
        first += pieces;
    }
    sm_team_barrier(crew->team);
    double sum = 0;
    for (uint64_t i = 0; i < o->n_pieces; i++)
        sum += o->pieces[i];
    sm_team_barrier(crew->team); /* before anyone starts the next sum */
    return sqrt(sum);
}

/* ---- updates ----------------------------------------------------------------------------- */

/* This thread's share of elements [at, at + n), in whole blocks of SM_STATE8_BLOCK, so that 8-bit
 * blocks and cache lines have one owner. */
static void share_blocks(const sm_crew *crew, uint64_t at, uint64_t n, uint64_t *begin,
                         uint64_t *end) {
    sm_share((n + SM_STATE8_BLOCK - 1) / SM_STATE8_BLOCK, crew->thread, crew->n_threads, begin,
             end);
    *begin = at + *begin * SM_STATE8_BLOCK;
    *end = at + (*end * SM_STATE8_BLOCK < n ? *end * SM_STATE8_BLOCK : n);
}

static void adamw_8bit(const sm_crew *crew, const sm_optim *o, const sm_param *p, state *s,
                       uint64_t begin, uint64_t end, const sm_update *u) {
    float m[SM_STATE8_BLOCK], v[SM_STATE8_BLOCK];
    for (uint64_t at = begin; at < end; at += SM_STATE8_BLOCK) {
        const uint64_t n = end - at < SM_STATE8_BLOCK ? end - at : SM_STATE8_BLOCK;
        sm_state8_read(o->codes, &s->m8, at, n, m);
        sm_state8_read(o->codes, &s->v8, at, n, v);
        for (uint64_t i = 0; i < n; i++)
            v[i] *= v[i];
        crew->kernels->adamw(p->value + at, p->grad + at, m, v, n, u);
        for (uint64_t i = 0; i < n; i++)
            v[i] = sqrtf(v[i]);
        sm_state8_write(o->codes, &s->m8, at, n, m);
        sm_state8_write(o->codes, &s->v8, at, n, v);
    }
}

/* Elements [at, at + n) of a parameter, of optimizers that look at each by itself. */
static void update_elements(const sm_crew *crew, const sm_optim *o, const sm_param *p, state *s,
                            const sm_update *u, uint64_t at, uint64_t n) {
    uint64_t begin, end;
    share_blocks(crew, at, n, &begin, &end);
    if (begin >= end)
        return;
    if (o->config.kind == SM_OPTIM_LION)
        crew->kernels->lion(p->value + begin, p->grad + begin, s->m + begin, end - begin, u);
    else if (o->config.kind == SM_OPTIM_SGD)
        crew->kernels->sgd(p->value + begin, p->grad + begin, s->m + begin, end - begin, u);
    else if (o->config.state_8bit)
        adamw_8bit(crew, o, p, s, begin, end, u);
    else
        crew->kernels->adamw(p->value + begin, p->grad + begin, s->m + begin, s->v + begin,
                             end - begin, u);
}

/* ---- Adafactor ------------------------------------------------------------------------------- */

/* p -= lr * u / max(1, rms(u) / clip) with u = g / sqrt(estimate of v); sums by rows, which are
 * then added in order. In three parts with a barrier after each, a parameter's rows [at, at + n) at
 * a time. */

#define ADAFACTOR_PARTS 3

/* The estimate of v: a row's and a column's factor, or of each element. */
static void estimate(const sm_crew *crew, const sm_optim *o, const sm_param *p, state *s,
                     float scale, uint64_t at, uint64_t n) {
    const double beta = 1 - pow((double)o->steps, -ADAFACTOR_DECAY);
    const float keep = (float)beta, take = (float)(1 - beta), part = take / (float)p->rows;
    uint64_t begin, end;
    if (!factored(o, p)) {
        sm_share(n * p->cols, crew->thread, crew->n_threads, &begin, &end);
        for (uint64_t i = at * p->cols + begin; i < at * p->cols + end; i++) {
            const float g = p->grad[i] * scale;
            s->v[i] = keep * s->v[i] + take * (g * g + (float)ADAFACTOR_EPS);
        }
        return;
    }
    sm_share(n, crew->thread, crew->n_threads, &begin, &end);
    for (uint64_t r = at + begin; r < at + end; r++) {
        const double sum = sum_squares(p->grad + r * p->cols, p->cols);
        const double mean = sum * (double)scale * (double)scale / (double)p->cols;
        s->row[r] = keep * s->row[r] + take * (float)(mean + ADAFACTOR_EPS);
    }
    sm_share(p->cols, crew->thread, crew->n_threads, &begin, &end);
    for (uint64_t i = begin; i < end && at == 0; i++)
        s->col[i] = keep * s->col[i] + take * (float)ADAFACTOR_EPS;
    for (uint64_t r = at; r < at + n; r++)
        for (uint64_t i = begin; i < end; i++) {
            const float g = p->grad[r * p->cols + i] * scale;
            s->col[i] += part * (g * g);
        }
}

/* u in place of the gradient, and its squares by row. */
static void divide_gradient(const sm_crew *crew, const sm_optim *o, const sm_param *p, state *s,
                            float scale, uint64_t at, uint64_t n) {
    uint64_t begin, end;
    sm_share(n, crew->thread, crew->n_threads, &begin, &end);
    for (uint64_t r = at + begin; r < at + end; r++) {
        float *g = p->grad + r * p->cols;
        if (factored(o, p)) {
            const float factor = (float)(1 / sqrt((double)s->row[r] / o->row_mean));
            for (uint64_t i = 0; i < p->cols; i++)
                g[i] = g[i] * scale * factor / sqrtf(s->col[i]);
        } else {
            for (uint64_t i = 0; i < p->cols; i++)
                g[i] = g[i] * scale / sqrtf(s->v[r * p->cols + i]);
        }
        s->row_sums[r] = sum_squares(g, p->cols);
    }
}

static void apply_divided(const sm_crew *crew, const sm_optim *o, const sm_param *p,
                          const sm_update *u, uint64_t at, uint64_t n) {
    uint64_t begin, end;
    sm_share(n, crew->thread, crew->n_threads, &begin, &end);
    for (uint64_t i = (at + begin) * p->cols; i < (at + end) * p->cols; i++)
        p->value[i] = p->value[i] - u->decay * p->value[i] - o->step_size * p->grad[i];
}

/* What a part takes from all rows of the one before it; thread 0 between barriers. */
static void sum_up(sm_optim *o, const sm_param *p, const state *s, const sm_update *u,
                   uint32_t part) {
    double sum = 0;
    for (uint64_t r = 0; r < p->rows && part == 1 && factored(o, p); r++)
        sum += (double)s->row[r];
    if (part == 1)
        o->row_mean = sum / (double)p->rows;
    for (uint64_t r = 0; r < p->rows && part == 2; r++)
        sum += s->row_sums[r];
    const double rms = sqrt(sum / (double)count(p));
    if (part == 2)
        o->step_size = u->lr / (float)(rms > ADAFACTOR_CLIP ? rms / ADAFACTOR_CLIP : 1);
}

static void adafactor(const sm_crew *crew, sm_optim *o, const sm_param *p, state *s,
                      const sm_update *u, const spot *place, uint64_t n) {
    if (place->part > 0 && place->at == 0) {
        sm_team_barrier(crew->team);
        if (crew->thread == 0)
            sum_up(o, p, s, u, place->part);
        sm_team_barrier(crew->team);
    }
    if (place->part == 0)
        estimate(crew, o, p, s, u->grad_scale, place->at, n);
    else if (place->part == 1)
        divide_gradient(crew, o, p, s, u->grad_scale, place->at, n);
    else
        apply_divided(crew, o, p, u, place->at, n);
}

/* ---- one update ------------------------------------------------------------------------ */

/* Whether the update is to be left at this place, to all threads the same; not asked each time.
 * *since: elements since the last question. */
static bool leave(const sm_crew *crew, sm_optim *o, const spot *place, uint64_t *since) {
    if (*since < UPDATE_PIECE || !crew->stop || !crew->stop->cancel)
        return false;
    *since = 0;
    sm_team_barrier(crew->team); /* all have come to this place */
    if (crew->thread == 0) {
        const uint32_t process = sm_process_id();
        o->stopped = sm_crew_stopped(crew);
        if (process != sm_process_id()) { /* forked there: nobody else goes on from here */
            o->stopped = true;
            atomic_store_explicit(&crew->stop->stopped, true, memory_order_relaxed);
        }
        o->next = *place;
    }
    sm_team_barrier(crew->team);
    return o->stopped;
}

/* The place after the n elements (or rows) of this one. */
static void advance(const sm_optim *o, spot *place, uint64_t n) {
    const sm_param *p = &o->params->param[place->param];
    const bool by_rows = o->config.kind == SM_OPTIM_ADAFACTOR;
    place->at += n;
    if (place->at < (by_rows ? p->rows : count(p)))
        return;
    place->at = 0;
    if (by_rows && ++place->part < ADAFACTOR_PARTS)
        return;
    place->part = 0;
    place->param++;
}

/* Some of one parameter; returns its elements, or rows, and adds the elements to *since. */
static uint64_t update_piece(const sm_crew *crew, sm_optim *o, sm_update *u, double lr,
                             const spot *place, uint64_t *since) {
    const sm_param *p = &o->params->param[place->param];
    state *s = &o->states[place->param];
    lr *= p->rate > 0 ? p->rate : 1;
    u->lr = (float)lr;
    u->decay = p->decay ? (float)(lr * o->config.weight_decay) : 0;
    if (o->config.kind == SM_OPTIM_ADAFACTOR) {
        const uint64_t most = p->cols < UPDATE_PIECE ? UPDATE_PIECE / p->cols : 1;
        const uint64_t rows = p->rows - place->at < most ? p->rows - place->at : most;
        adafactor(crew, o, p, s, u, place, rows);
        *since += rows * p->cols;
        return rows;
    }
    const uint64_t left = count(p) - place->at, n = left < UPDATE_PIECE ? left : UPDATE_PIECE;
    update_elements(crew, o, p, s, u, place->at, n);
    *since += n;
    return n;
}

bool sm_optim_step(const sm_crew *crew, sm_optim *o, double lr, double grad_scale) {
    const sm_optim_config *c = &o->config;
    sm_team_barrier(crew->team); /* all have read what the last one left */
    if (crew->thread == 0) {
        o->steps += !o->unfinished;
        o->next = o->unfinished ? o->next : (spot){0};
        o->unfinished = true;
    }
    sm_team_barrier(crew->team);
    const double t = (double)o->steps;
    sm_update u = {.grad_scale = (float)grad_scale,
                   .beta1 = (float)(c->kind == SM_OPTIM_SGD ? c->momentum : c->beta1),
                   .beta2 = (float)c->beta2,
                   .rest1 = (float)(1 - c->beta1),
                   .rest2 = (float)(1 - c->beta2),
                   .correct1 = (float)(1 / (1 - pow(c->beta1, t))),
                   .correct2 = (float)(1 / (1 - pow(c->beta2, t))),
                   .eps = (float)c->eps};
    uint64_t since = 0;
    for (spot place = o->next; place.param < o->params->n;) {
        if (leave(crew, o, &place, &since))
            return false;
        advance(o, &place, update_piece(crew, o, &u, lr, &place, &since));
    }
    sm_team_barrier(crew->team);
    if (crew->thread == 0)
        o->unfinished = false;
    return true;
}

/* ---- state for checkpoints ------------------------------------------------------------------ */

#define ROLES 8

/* State tensor `role` of parameter i; false if this optimizer keeps none such. */
static bool tensor(sm_optim *o, uint32_t i, uint32_t role, const char **name, void **data,
                   uint64_t *bytes) {
    const sm_param *p = &o->params->param[i];
    state *s = &o->states[i];
    const uint64_t n = count(p), blocks = sm_state8_blocks(n);
    const struct {
        const char *name;
        void *data;
        uint64_t bytes;
    } all[ROLES] = {{"m", s->m, n * sizeof(float)},
                    {"v", s->v, n * sizeof(float)},
                    {"m8", s->m8.code, n},
                    {"m8.scale", s->m8.scale, blocks * sizeof(float)},
                    {"v8", s->v8.code, n},
                    {"v8.scale", s->v8.scale, blocks * sizeof(float)},
                    {"row", s->row, p->rows * sizeof(float)},
                    {"col", s->col, p->cols * sizeof(float)}};
    *name = all[role].name;
    *data = all[role].data;
    *bytes = all[role].bytes;
    return *data;
}

uint32_t sm_optim_state_count(const sm_optim *o) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < o->params->n; i++)
        for (uint32_t role = 0; role < ROLES; role++) {
            const char *name;
            void *data;
            uint64_t bytes;
            n += tensor((sm_optim *)(uintptr_t)o, i, role, &name, &data, &bytes);
        }
    return n;
}

void sm_optim_state(sm_optim *o, uint32_t index, const char **param, const char **role, void **data,
                    uint64_t *bytes) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < o->params->n; i++)
        for (uint32_t r = 0; r < ROLES; r++)
            if (tensor(o, i, r, role, data, bytes) && n++ == index) {
                *param = o->params->param[i].name;
                return;
            }
    *param = *role = NULL;
    *data = NULL;
    *bytes = 0;
}

uint64_t sm_optim_steps(const sm_optim *o) {
    return o->steps;
}

void sm_optim_set_steps(sm_optim *o, uint64_t steps) {
    o->steps = steps;
    o->unfinished = false;
}

/* ---- schedules ------------------------------------------------------------------------------- */

sm_status sm_schedule_check(const sm_schedule *s, sm_error *error) {
    if (!(s->lr > 0 && s->lr < 1e3))
        return sm_fail(error, SM_ERR_ARGUMENT, "learning rate %g is not in (0, 1000)", s->lr);
    if (!(s->min_lr >= 0 && s->min_lr <= s->lr))
        return sm_fail(error, SM_ERR_ARGUMENT, "lowest learning rate %g is not in [0, %g]",
                       s->min_lr, s->lr);
    if (s->kind > SM_SCHEDULE_COSINE_RESTARTS)
        return sm_fail(error, SM_ERR_ARGUMENT, "unknown schedule %d", (int)s->kind);
    if (s->warmup > s->steps)
        return sm_fail(error, SM_ERR_ARGUMENT, "warmup of %llu steps is longer than the %llu steps",
                       (unsigned long long)s->warmup, (unsigned long long)s->steps);
    if (s->kind == SM_SCHEDULE_POLYNOMIAL && !(s->power >= 0 && s->power <= 100))
        return sm_fail(error, SM_ERR_ARGUMENT, "power %g is not in [0, 100]", s->power);
    if (s->kind == SM_SCHEDULE_WSD && !(s->decay_fraction >= 0 && s->decay_fraction <= 1))
        return sm_fail(error, SM_ERR_ARGUMENT, "decay fraction %g is not in [0, 1]",
                       s->decay_fraction);
    if (s->kind == SM_SCHEDULE_COSINE_RESTARTS &&
        (!s->cycle || !(s->cycle_factor >= 1 && s->cycle_factor <= 100)))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "restarts need a cycle of at least 1 step and a factor in [1, 100]");
    return SM_OK;
}

/* From lr at 0 to min_lr at 1. */
static double between(const sm_schedule *s, double down) {
    return s->lr + (s->min_lr - s->lr) * down;
}

static double half_cosine(double done) {
    return 0.5 * (1 - cos(3.14159265358979323846 * done));
}

double sm_schedule_lr(const sm_schedule *s, uint64_t step) {
    /* the first step already moves: 1/warmup of the way */
    if (step < s->warmup)
        return s->lr * (double)(step + 1) / (double)s->warmup;
    const double at = (double)(step - s->warmup), length = (double)(s->steps - s->warmup);
    const double done = length > 0 && at < length ? at / length : 1;
    switch (s->kind) {
    case SM_SCHEDULE_CONSTANT:
        return s->lr;
    case SM_SCHEDULE_LINEAR:
        return between(s, done);
    case SM_SCHEDULE_COSINE:
        return between(s, half_cosine(done));
    case SM_SCHEDULE_POLYNOMIAL:
        return between(s, 1 - pow(1 - done, s->power));
    case SM_SCHEDULE_INVERSE_SQRT: {
        const double origin = s->warmup ? (double)s->warmup : 1;
        const double lr = s->lr * sqrt(origin / (origin + at));
        return lr > s->min_lr ? lr : s->min_lr;
    }
    case SM_SCHEDULE_WSD: {
        const double stable = 1 - s->decay_fraction;
        return done <= stable ? s->lr : between(s, (done - stable) / s->decay_fraction);
    }
    case SM_SCHEDULE_COSINE_RESTARTS: {
        double left = at, cycle = (double)s->cycle;
        if (s->cycle_factor == 1)
            left = fmod(left, cycle);
        while (left >= cycle) { /* cycles grow: some hundred rounds at most */
            left -= cycle;
            cycle *= s->cycle_factor;
        }
        return between(s, half_cosine(left / cycle));
    }
    }
    return s->lr;
}

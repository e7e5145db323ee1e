/* A network in training: what it holds, how its threads are asked to end, and freeing it. */
#include "graph.h"

void sm_graph_free(sm_graph *g) {
    if (!g)
        return;
    sm_workspace_free(g->ws);
    sm_tape_free(g->tape);
    sm_gemm_scratch_free(g->gemm);
    sm_team_free(g->team);
    for (uint32_t i = 0; i < g->n_owned; i++)
        sm_free(g->mem, g->owned[i]);
    sm_free(g->mem, g->owned);
    sm_net_free(g->net);
    sm_free(g->mem, g);
}

const sm_params *sm_graph_params(const sm_graph *g) {
    return &g->params;
}
void sm_graph_set_teacher(sm_graph *g, sm_teacher *teacher) {
    g->teacher = teacher;
}
uint32_t sm_graph_chunk(const sm_graph *g) {
    return g->chunk;
}
double sm_graph_unlike(const sm_graph *g) {
    return g->unlike;
}
const sm_net *sm_graph_net(const sm_graph *g) {
    return g->net;
}
const sm_adapters *sm_graph_adapters(const sm_graph *g) {
    return g->adapters.n ? &g->adapters : NULL;
}
sm_team *sm_graph_team(sm_graph *g) {
    return g->team;
}
sm_gemm_scratch *sm_graph_gemm(sm_graph *g) {
    return g->gemm;
}
void sm_graph_set_cancel(sm_graph *g, int32_t (*cancel)(void *user), void *user) {
    g->stop.cancel = cancel;
    g->stop.cancel_user = user;
}
void sm_graph_begin(sm_graph *g) {
    atomic_store_explicit(&g->stop.stopped, false, memory_order_relaxed);
}
bool sm_graph_ask(const sm_graph *g) {
    return g->stop.cancel && g->stop.cancel(g->stop.cancel_user);
}
bool sm_graph_stopped(const sm_graph *g) {
    return atomic_load_explicit(&g->stop.stopped, memory_order_relaxed);
}
sm_crew sm_graph_crew(sm_graph *g, uint32_t thread, uint32_t n_threads) {
    return (sm_crew){g->team, g->kernels, g->gemm, thread, n_threads, &g->stop};
}

/* plot.c - the losses of a run as an SVG. */
#include "plot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "shown.h"

#define WIDTH 800.0
#define HEIGHT 450.0
#define LEFT 60.0
#define RIGHT 20.0
#define TOP 40.0
#define BOTTOM 50.0
#define MOST_POINTS 2000 /* of the raw curve: more than the picture has columns */

typedef struct frame {
    double last_step, low, high; /* what the axes span */
} frame;

static double x_at(const frame *f, double step) {
    return LEFT + (WIDTH - LEFT - RIGHT) * step / f->last_step;
}

static double y_at(const frame *f, double loss) {
    return TOP + (HEIGHT - TOP - BOTTOM) * (f->high - loss) / (f->high - f->low);
}

static void include(frame *f, const curve *c) {
    for (size_t i = 0; i < c->n; i++) {
        const curve_point *p = &c->points[i];
        f->last_step = fmax(f->last_step, p->step);
        f->low = fmin(f->low, p->loss);
        f->high = fmax(f->high, p->loss);
    }
}

/* The round number nearest below a tenth to a fifth of a span: 1, 2 or 5 times a power of 10. */
static double tick_of(double span) {
    const double power = pow(10, floor(log10(span / 5)));
    const double digits = span / 5 / power;
    return power * (digits >= 5 ? 5 : digits >= 2 ? 2 : 1);
}

static void draw_axes(FILE *out, const frame *f) {
    const double dx = fmax(1, tick_of(f->last_step)), dy = tick_of(f->high - f->low);
    for (double step = 0; step <= f->last_step; step += dx) {
        const double x = x_at(f, step);
        fprintf(out,
                "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' class='grid'/>"
                "<text x='%.1f' y='%.1f' text-anchor='middle'>%g</text>\n",
                x, TOP, x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 16, step);
    }
    const double first = ceil(f->low / dy);
    for (int i = 0; (first + i) * dy <= f->high; i++) {
        const double loss = (first + i) * dy, y = y_at(f, loss);
        fprintf(out,
                "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' class='grid'/>"
                "<text x='%.1f' y='%.1f' text-anchor='end'>%.3g</text>\n",
                LEFT, y, WIDTH - RIGHT, y, LEFT - 6, y + 4, fabs(loss) < dy / 2 ? 0 : loss);
    }
    fprintf(out,
            "<text x='%.1f' y='%.1f' text-anchor='middle'>optimizer step</text>\n"
            "<text transform='translate(14 %.1f) rotate(-90)' text-anchor='middle'>"
            "loss, nats per token</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, (TOP + HEIGHT - BOTTOM) / 2);
}

static void draw_curve(FILE *out, const frame *f, const curve *c, const char *style, bool smooth) {
    const size_t stride = c->n / MOST_POINTS + 1;
    curve_mean mean = {0};
    if (c->n == 0)
        return;
    fprintf(out, "<polyline class='%s' points='", style);
    for (size_t i = 0; i < c->n; i++) {
        const curve_point *p = &c->points[i];
        const double value = smooth ? curve_mean_add(&mean, p->loss) : p->loss;
        if (i % stride == 0 || i + 1 == c->n)
            fprintf(out, "%.1f,%.1f ", x_at(f, p->step), y_at(f, value));
    }
    fputs("'/>\n", out);
}

static void draw_text(FILE *out, const char *text) {
    char shown[CLI_SHOWN_SPACE];
    for (const char *c = cli_shown(shown, text); *c; c++) {
        if (*c == '<' || *c == '&' || *c == '>')
            fprintf(out, "&#%d;", *c);
        else
            fputc(*c, out);
    }
}

static void draw(FILE *out, const char *title, const curve *train, const curve *validation) {
    frame f = {.last_step = 1, .low = INFINITY, .high = -INFINITY};
    include(&f, train);
    include(&f, validation);
    if (!isfinite(f.low)) {
        f.low = 0;
        f.high = 1;
    }
    /* of a flat curve the axis shows something around it */
    const double least = 1e-6 * fmax(1, fabs(f.high));
    if (f.high - f.low < least) {
        f.low -= least;
        f.high += least;
    }
    fprintf(out,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%.0f' height='%.0f' "
            "viewBox='0 0 %.0f %.0f' font-family='sans-serif' font-size='12'>\n"
            "<style>.grid{stroke:#ddd}.raw{fill:none;stroke:#9cc3e6}"
            ".smooth{fill:none;stroke:#1f6fb2;stroke-width:2}"
            ".validation{fill:none;stroke:#d9601a;stroke-width:2}</style>\n"
            "<rect width='100%%' height='100%%' fill='white'/>\n<text x='%.1f' y='22' "
            "font-size='15'>",
            WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT);
    draw_text(out, title);
    fputs("</text>\n", out);
    draw_axes(out, &f);
    draw_curve(out, &f, train, "raw", false);
    draw_curve(out, &f, train, "smooth", true);
    draw_curve(out, &f, validation, "validation", false);
    for (size_t i = 0; i < validation->n && validation->n <= 100; i++)
        fprintf(out, "<circle cx='%.1f' cy='%.1f' r='3' fill='#d9601a'/>\n",
                x_at(&f, validation->points[i].step), y_at(&f, validation->points[i].loss));
    fprintf(out,
            "<text x='%.1f' y='%.1f' text-anchor='end' fill='#1f6fb2'>training</text>\n"
            "<text x='%.1f' y='%.1f' text-anchor='end' fill='#d9601a'>%s</text>\n</svg>\n",
            WIDTH - RIGHT - 8, TOP + 16, WIDTH - RIGHT - 8, TOP + 32,
            validation->n ? "validation" : "");
}

bool plot_write(const char *path, const char *title, const curve *train, const curve *validation) {
    FILE *out = fopen(path, "w");
    if (out == NULL) {
        cli_error("%s: cannot write: %s", path, strerror(errno));
        return false;
    }
    draw(out, title, train, validation);
    const bool bad = ferror(out) != 0;
    if (fclose(out) != 0 || bad) {
        cli_error("%s: cannot write: %s", path, strerror(errno));
        return false;
    }
    return true;
}

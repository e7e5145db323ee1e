/* Angles of the rotation of positions. */
#include "net.h"

#include <math.h>

/* Angles per position and their magnitude. Plain: theta^(-2i/n_rot). YaRN
 * (arXiv:2309.00071, section 3): interpolated by 1/factor where the wavelength
 * is long against the original context, untouched where it is short, a linear
 * ramp between; the magnitude grows by `growth` ln(factor), 0.1 in the paper. */
static sm_status angles(const sm_net *net, const sm_rope *r, const float *freqs, double **out,
                        sm_error *error) {
    const double n_rot = r->n_rot;
    const double pi = 3.14159265358979323846;
    double low = 0, high = 0;
    double *inv_freq = *out = sm_alloc_array(net->mem, r->n_rot / 2, sizeof *inv_freq);
    if (!inv_freq)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for rope");
    if (r->scaling == SM_ROPE_YARN) {
        /* the dimension that turns `beta` times within the original context */
        const double per = n_rot / (2 * log(r->theta));
        low = per * log(r->n_ctx_original / (r->beta_fast * 2 * pi));
        high = per * log(r->n_ctx_original / (r->beta_slow * 2 * pi));
        low = r->exact_ramp ? low : floor(low);
        high = r->exact_ramp ? high : ceil(high);
        low = low < 0 ? 0 : low;
        high = high > n_rot - 1 ? n_rot - 1 : high;
    }
    for (uint32_t i = 0; i < r->n_rot / 2; i++) {
        double angle = pow(r->theta, -2.0 * i / n_rot);
        if (freqs)
            angle /= (double)freqs[i];
        double stretched = angle / r->factor;
        if (r->scaling == SM_ROPE_YARN) {
            double width = high - low < 0.001 ? 0.001 : high - low;
            double ramp = (i - low) / width;
            ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
            double keep = (1 - ramp) * r->ext_factor; /* share of the untouched angle;
                                                              factor 0 turns the ramp off */
            stretched = stretched * (1 - keep) + angle * keep;
        }
        if (!isfinite(stretched))
            return sm_fail(error, SM_ERR_FORMAT,
                           "%s: keys '%s.rope.*' give angles that are not finite",
                           net->source->path, net->config.architecture);
        inv_freq[i] = stretched;
    }
    return SM_OK;
}

sm_status sm_rope_init(const sm_net *net, sm_rope *r, sm_error *error) {
    r->mscale = 1;
    if (!r->n_rot)
        return SM_OK;
    sm_status status = angles(net, r, r->freqs, &r->inv_freq, error);
    if (!status && r->long_freqs)
        status = angles(net, r, r->long_freqs, &r->long_inv_freq, error);
    if (status)
        return status;
    double scale = r->attn_factor;
    if (r->scaling == SM_ROPE_YARN && r->ext_factor != 0 && r->factor > 1)
        scale *= 1.0 + r->growth * log(r->factor);
    r->mscale = (float)scale;
    return SM_OK;
}

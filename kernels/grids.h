/* grids.h - the codebooks of the IQ types: what the indices in their blocks (blocks.h) stand for.
 *
 * A word of eight elements of three levels has bit i of its low byte set where element i is of
 * level 1 or 2, and of its high byte where it is of level 2. A word of four elements of eight
 * levels is four octal digits, element 0 the lowest.
 */
#ifndef SM_GRIDS_H
#define SM_GRIDS_H

#include <stdint.h>

extern const uint16_t sm_grid_iq2_xxs[256], sm_grid_iq2_xs[512], sm_grid_iq2_s[1024];
extern const uint16_t sm_grid_iq1[2048]; /* IQ1_S and IQ1_M */
extern const uint16_t sm_grid_iq3_xxs[256], sm_grid_iq3_s[512];

#endif

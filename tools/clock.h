/* clock.h - the time that passes. */
#ifndef CLOCK_H
#define CLOCK_H

double cli_seconds(void); /* monotonic */

#endif

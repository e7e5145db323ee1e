/* clock.h - the time that passes. */
#ifndef CLOCK_H
#define CLOCK_H

double cli_seconds(void); /* monotonic */
/* The same to some milliseconds and cheaper, for what is asked several times a token. */
double cli_seconds_roughly(void);

#endif

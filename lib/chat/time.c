/* time.c - strftime, of a time that has no zone. */
#include <string.h>

#include "value.h"

typedef struct date {
    int64_t year;
    uint32_t month, day, weekday, yearday; /* month 0.., day 1.., weekday 0: Sunday, yearday 0.. */
    uint32_t hour, minute, second;
} date;

/* Days from 1970 to a civil date and back: Hinnant, "chrono-compatible low-level date algorithms". */
static date date_of(int64_t seconds) {
    int64_t days = seconds / 86400;
    int64_t rest = seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    date d = {.hour = (uint32_t)(rest / 3600),
              .minute = (uint32_t)(rest / 60 % 60),
              .second = (uint32_t)(rest % 60),
              .weekday = (uint32_t)(((days + 4) % 7 + 7) % 7)};
    const int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    const uint32_t doe = (uint32_t)(z - era * 146097);
    const uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    d.day = doy - (153 * mp + 2) / 5 + 1;
    d.month = mp < 10 ? mp + 2 : mp - 10;
    d.year = (int64_t)yoe + era * 400 + (d.month < 2);
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    const bool leap = d.year % 4 == 0 && (d.year % 100 != 0 || d.year % 400 == 0);
    d.yearday = before[d.month] + d.day - 1 + (leap && d.month > 1);
    return d;
}

static const char *const day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
static const char *const month_names[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};

static void put_padded(run *r, int64_t n, uint32_t width, char fill) {
    char digits[24];
    const size_t length = sm_format(digits, sizeof digits, "%lld", (long long)n);
    for (size_t i = length; i < width && fill; i++)
        text_add(r, &fill, 1, false);
    text_literal(r, digits);
}

static void put_iso_week(run *r, const date *d, char letter) {
    const uint32_t weekday = (d->weekday + 6) % 7; /* 0: Monday */
    int64_t year = d->year, week = ((int64_t)d->yearday - weekday + 10) / 7;
    if (week < 1) {
        year--;
        const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        week = ((int64_t)d->yearday + 365 + leap - weekday + 10) / 7;
    } else if (week == 53) {
        const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        if ((int64_t)d->yearday - weekday + 3 >= 365 + leap) { /* its Thursday is next year's */
            week = 1;
            year++;
        }
    }
    put_padded(r, letter == 'V' ? week : year, letter == 'V' ? 2 : 4, '0');
}

static void put_dates(run *r, const date *d, const char *format);

/* A directive of a number; false if it is another one. */
static bool put_count(run *r, const date *d, char c, char fill) {
    const uint32_t hour = d->hour % 12 ? d->hour % 12 : 12;
    const struct {
        char letter;
        int64_t n;
        uint32_t width;
        char fill;
    } counts[] = {{'Y', d->year, 1, '0'},
                  {'C', d->year / 100, 2, '0'},
                  {'y', d->year % 100, 2, '0'},
                  {'m', d->month + 1, 2, '0'},
                  {'d', d->day, 2, '0'},
                  {'e', d->day, 2, ' '},
                  {'H', d->hour, 2, '0'},
                  {'k', d->hour, 2, ' '},
                  {'I', hour, 2, '0'},
                  {'l', hour, 2, ' '},
                  {'M', d->minute, 2, '0'},
                  {'S', d->second, 2, '0'},
                  {'j', d->yearday + 1, 3, '0'},
                  {'w', d->weekday, 1, '0'},
                  {'u', d->weekday ? d->weekday : 7, 1, '0'},
                  {'f', 0, 6, '0'},
                  {'U', (d->yearday + 7 - d->weekday) / 7, 2, '0'},
                  {'W', (d->yearday + 7 - (d->weekday + 6) % 7) / 7, 2, '0'}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].letter == c) {
            put_padded(r, counts[i].n, counts[i].width,
                       fill == '-'   ? 0
                       : fill == '_' ? ' '
                                     : counts[i].fill);
            return true;
        }
    return false;
}

static void put_directive(run *r, const date *d, char c, char fill) {
    const char *month = month_names[d->month], *day = day_names[d->weekday];
    if (put_count(r, d, c, fill))
        return;
    switch (c) {
    case 'A':
        text_literal(r, day);
        break;
    case 'a':
        text_add(r, day, 3, false);
        break;
    case 'B':
        text_literal(r, month);
        break;
    case 'b':
    case 'h':
        text_add(r, month, 3, false);
        break;
    case 'p':
        text_literal(r, d->hour < 12 ? "AM" : "PM");
        break;
    case 'G':
    case 'V':
        put_iso_week(r, d, c);
        break;
    case 'F':
        put_dates(r, d, "%Y-%m-%d");
        break;
    case 'T':
    case 'X':
        put_dates(r, d, "%H:%M:%S");
        break;
    case 'D':
    case 'x':
        put_dates(r, d, "%m/%d/%y");
        break;
    case 'R':
        put_dates(r, d, "%H:%M");
        break;
    case 'r':
        put_dates(r, d, "%I:%M:%S %p");
        break;
    case 'c':
        put_dates(r, d, "%a %b %e %H:%M:%S %Y");
        break;
    case 'n':
        text_literal(r, "\n");
        break;
    case 't':
        text_literal(r, "\t");
        break;
    case 'z':
    case 'Z': /* a time without a zone */
        break;
    case '%':
        text_literal(r, "%");
        break;
    default:
        FAIL(r, SM_ERR_UNSUPPORTED, "the time directive %%%c is not supported", c);
    }
}

static void put_dates(run *r, const date *d, const char *format) {
    for (; *format; format += 1) {
        if (*format != '%')
            text_add(r, format, 1, false);
        else
            put_directive(r, d, *++format, 0);
    }
}

value time_text(run *r, const text *format) {
    const date d = date_of(r->options->clock_is_set ? r->options->clock : sm_unix_time());
    const mark from = text_begin(r);
    for (uint32_t at = 0; at < format->length && run_step(r, 1); at++) {
        if (format->data[at] != '%' || at + 1 == format->length) {
            text_range(r, format, at, at + 1);
            continue;
        }
        char fill = 0;
        if (strchr("-_", byte_at(format, at + 1)) && at + 2 < format->length)
            fill = format->data[++at];
        put_directive(r, &d, format->data[++at], fill);
    }
    return text_value(r, from);
}

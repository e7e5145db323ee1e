#!/bin/sh
# Prints the version that include/smallmind/types.h states.
sed -n 's/^#define SM_VERSION_\(MAJOR\|MINOR\|PATCH\) \([0-9]*\)$/\2/p' \
    "$(dirname "$0")/../include/smallmind/types.h" | paste -sd.

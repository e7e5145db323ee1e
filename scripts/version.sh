#!/bin/sh
# Prints the version that include/smallmind/types.h states: 1.0.0, or 1.0.0-rc1.
types=$(dirname "$0")/../include/smallmind/types.h
numbers=$(sed -n 's/^#define SM_VERSION_\(MAJOR\|MINOR\|PATCH\) \([0-9]*\)$/\2/p' "$types" | paste -sd.)
echo "$numbers$(sed -n 's/^#define SM_VERSION_PRE "\([^"]*\)".*/\1/p' "$types")"

#!/bin/sh
# after_install.sh - run by `meson install`: makes the new library known to the loader, or says what
# programs need where that cannot be done.
#
# Usage: after_install.sh LIBDIR SONAME
PATH=$PATH:/usr/sbin:/sbin
command -v ldconfig > /dev/null || exit 0 # a loader that looks for itself
ldconfig 2> /dev/null || true             # root's to do
found=$(ldconfig -p 2> /dev/null | sed -n "s|^[[:space:]]*$2 .*=> ||p" | head -1)
[ "$found" = "$1/$2" ] && exit 0
if [ -n "$found" ]; then
    echo "note: the loader finds $found first: an older installation?"
else
    echo "note: the loader does not know $1/$2 (is ldconfig still to be run by root?)"
fi
echo "Programs find it with -Wl,-rpath,$1 when linked, or with LD_LIBRARY_PATH=$1;" \
    "pkg-config with PKG_CONFIG_PATH=$1/pkgconfig."

#!/usr/bin/env bash
# Prints what each build option costs: bytes of the stripped shared library, and of examples/hello
# linked statically (with the C library) and stripped, as a table for docs/packaging.md.
#
#   scripts/sizes.sh        in build-sizes; on x86-64 Linux
set -euo pipefail
cd "$(dirname "$0")/.."
out=build-sizes

bytes() { # FILE, stripped
    strip -o "$out/stripped" "$1"
    stat -c %s "$out/stripped"
}

row() { # OPTIONS: of meson
    local name=${1:-none} dir
    dir=$out/$(printf %s "$name" | tr -c 'a-z0-9\n' _)
    # shellcheck disable=SC2086
    [ -d "$dir" ] || meson setup "$dir" --buildtype=release -Dtests=disabled -Dtools=disabled $1 \
        > "$out/log" 2>&1 || { cat "$out/log"; exit 1; }
    ninja -C "$dir" > "$out/log" 2>&1 ||
        { tail -20 "$out/log"; exit 1; }
    cc -O2 -Iinclude examples/hello.c "$dir/lib/libsmallmind.a" -static -lm -pthread -o "$out/hello"
    "$out/hello" models/stories.gguf "Once upon a time" > "$out/text"
    grep -q '^Once upon a time, there was' "$out/text"
    printf '| `%s` | %d | %d |\n' "$name" "$(bytes "$dir/lib/libsmallmind.so")" "$(bytes "$out/hello")"
}

mkdir -p "$out"
echo '| options | shared library | static hello |'
echo '|---|---:|---:|'
row ''
row '-Dtrain=disabled'
row '-Dlevels=avx2'
row '-Dlevels=[]'
row '-Dtrain=disabled -Dlevels=avx2'
row '-Dtrain=disabled -Dlevels=[]'

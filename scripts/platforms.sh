#!/bin/sh
# Builds the library and the examples for systems and machines other than this one, as far as their
# compilers are installed (Debian's packages are named in scripts/cross-*.ini), and lets the
# example hello write a text there, in an emulator where one is needed: it has to be the one that
# this machine writes. Ends with "N passed, N failed, N skipped".
#
#   scripts/platforms.sh [NAME...]      of: mingw64 i386 armhf riscv64 musl
set -eu
cd "$(dirname "$0")/.."
model=models/stories.gguf
out=build-platforms
passed=0 failed=0 skipped=0

# build NAME COMPILER OPTION...: 77 where there is no such compiler
build() {
    name=$1 compiler=$2
    shift 2
    command -v "$compiler" > /dev/null || return 77
    [ -d "$out/$name" ] || meson setup "$out/$name" -Dtests=disabled -Dtools=disabled "$@" \
        > "$out/$name.log" 2>&1 || return 1
    ninja -C "$out/$name" >> "$out/$name.log" 2>&1
}

# hello NAME RUNNER...: what it writes is what this machine writes
hello() {
    name=$1
    shift
    "$@" "$model" "Once upon a time" 2>> "$out/$name.log" | tr -d '\r' > "$out/$name.txt" || return 1
    cmp "$out/here.txt" "$out/$name.txt" >> "$out/$name.log" 2>&1
}

one() {
    case $1 in
    here)
        build here cc && out_here="$out/here/examples/hello" &&
            "$out_here" "$model" "Once upon a time" > "$out/here.txt" ;;
    mingw64)
        build mingw64 x86_64-w64-mingw32-gcc --cross-file scripts/cross-mingw64.ini || return
        command -v wine > /dev/null || return 78
        cp "$out"/mingw64/lib/*.dll "$out/mingw64/examples/"
        WINEDEBUG=-all WINEPREFIX=$PWD/$out/wine \
            hello mingw64 wine "$out/mingw64/examples/hello.exe" ;;
    i386)
        build i386 i686-linux-gnu-gcc --cross-file scripts/cross-i386.ini || return
        hello i386 "$out/i386/examples/hello" ;;
    armhf)
        build armhf arm-linux-gnueabihf-gcc --cross-file scripts/cross-armhf.ini || return
        command -v qemu-arm > /dev/null || return 78
        hello armhf qemu-arm "$out/armhf/examples/hello" ;;
    riscv64)
        build riscv64 riscv64-linux-gnu-gcc --cross-file scripts/cross-riscv64.ini || return
        command -v qemu-riscv64 > /dev/null || return 78
        hello riscv64 qemu-riscv64 -L /usr/riscv64-linux-gnu "$out/riscv64/examples/hello" ;;
    musl)
        build musl musl-gcc --native-file scripts/native-musl.ini || return
        musl-gcc -static -Iinclude -I"$out/musl/include" examples/hello.c \
            "$out/musl/lib/libsmallmind.a" -lm -o "$out/musl/hello" >> "$out/musl.log" 2>&1 &&
            hello musl "$out/musl/hello" ;;
    *)
        echo "$0: no platform $1" >&2
        exit 2 ;;
    esac
}

mkdir -p "$out"
one here || { echo "the build for this machine failed: $out/here.log"; exit 1; }
[ $# -gt 0 ] || set -- mingw64 i386 armhf riscv64 musl
for name; do
    code=0
    one "$name" || code=$?
    case $code in
    0) passed=$((passed + 1)); echo "$name: builds, writes the same text" ;;
    77) skipped=$((skipped + 1)); echo "$name: skipped, no compiler" ;;
    78) skipped=$((skipped + 1)); echo "$name: builds; not run, no emulator" ;;
    *) failed=$((failed + 1)); echo "$name: FAILED, see $out/$name.log" ;;
    esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]

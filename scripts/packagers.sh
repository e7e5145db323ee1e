#!/usr/bin/env bash
# Builds what packagers make of this tree, as far as their tools are installed, in folders of its
# own, and uses it there. Ends with "N passed, N failed, N skipped".
#
#   scripts/packagers.sh [NAME...]      of: debian conan wraps
#
# debian    dpkg-buildpackage -b (debian/); the packages, unpacked, run and link a program
# conan     conan create packaging/conan, with its test package, where xxhash.h is of the system
# wraps     meson with the dependencies of subprojects/ in place of the system's, if their archives
#           can be had or lie in subprojects/packagecache; the program runs
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0 skipped=0
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

sources() { # a copy: tools write beside what they build
    rm -rf "$place/src" && mkdir "$place/src" || return
    git ls-files -z | tar --null -T - -c | tar -x -C "$place/src"
}

debian() {
    command -v dh > /dev/null && command -v dpkg-buildpackage > /dev/null || return 77
    mkdir "$place/root" && sources || return
    (cd "$place/src" && dpkg-buildpackage -b -us -uc) || return
    for package in "$place"/*smallmind*.deb; do
        dpkg-deb -x "$package" "$place/root" || return
    done
    local pc libdir
    pc=$(find "$place/root" -name smallmind.pc) && libdir=${pc%/pkgconfig/*} || return
    "$place/root/usr/bin/smallmind" run -m models/stories.gguf -p "Once upon a time" -n 5 || return
    # shellcheck disable=SC2046
    cc examples/hello.c -o "$place/hello" $(PKG_CONFIG_SYSROOT_DIR=$place/root \
        PKG_CONFIG_PATH=${pc%/*} pkg-config --cflags --libs smallmind) || return
    LD_LIBRARY_PATH=$libdir "$place/hello" models/stories.gguf "Once upon a time" |
        grep '^Once upon a time, '
}

conan_package() {
    command -v conan > /dev/null || return 77
    export CONAN_HOME=$place/conan
    sources || return
    conan profile detect &&
        conan create "$place/src/packaging/conan" -o 'smallmind/*:system_xxhash=True' &&
        conan create "$place/src/packaging/conan" -o 'smallmind/*:system_xxhash=True' \
            -o 'smallmind/*:shared=True' -o 'smallmind/*:train=False'
}

wraps() {
    sources || return
    [ ! -d subprojects/packagecache ] || cp -r subprojects/packagecache "$place/src/subprojects"
    cd "$place/src" || return
    meson subprojects download || return 77
    meson setup build --buildtype=release --force-fallback-for=libxxhash,jansson \
        -Dlibedit=disabled -Dtests=disabled && ninja -C build tools/smallmind || return
    if ldd build/tools/smallmind | grep jansson; then return 1; fi
    build/tools/smallmind run -m models/stories.gguf -p "Once upon a time" -n 5
}

[ $# -gt 0 ] || set -- debian conan wraps
for name; do
    case $name in
    debian) what=debian ;;
    conan) what=conan_package ;;
    wraps) what=wraps ;;
    *) echo "$0: no packager $name" >&2; exit 2 ;;
    esac
    code=0
    "$what" > "$place/$name.log" 2>&1 || code=$?
    case $code in
    0) passed=$((passed + 1)); echo "$name: builds, and is used" ;;
    77) skipped=$((skipped + 1)); echo "$name: skipped, what it needs is not here" ;;
    *) failed=$((failed + 1)); echo "$name: FAILED"; tail -40 "$place/$name.log" ;;
    esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]

#!/usr/bin/env bash
# Builds smallmind and streams a story from the bundled model, or text from another.
#
# Usage: scripts/demo.sh [MODEL.gguf]
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/packages.sh

program=build/tools/smallmind

finish() { # PASSED FAILED SKIPPED
    echo "$1 passed, $2 failed, $3 skipped"
    [ "$2" -eq 0 ]
    exit
}

# The words as one would type them.
typed() {
    local word
    for word; do
        case $word in
        '' | *[!A-Za-z0-9_./:=,+@%-]*) printf " '%s'" "${word//\'/\'\\\'\'}" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
}

need_build_packages
install_missing "a minute or two" || finish 0 1 0

if [ ! -f build/build.ninja ]; then
    echo "setting up build/ (some seconds) ..."
    meson setup build --buildtype=release > build-setup.log 2>&1 ||
        { cat build-setup.log; rm -rf build build-setup.log; finish 0 1 0; }
    rm -f build-setup.log
fi
steps=$(ninja -C build -n tools/smallmind | grep -c '^\[')
[ "$steps" -eq 0 ] ||
    echo "compiling the library and the program: $steps steps, a minute or two on two cores ..."
if [ -t 1 ]; then # ninja counts the steps on one line
    ninja -C build --quiet tools/smallmind || finish 0 1 0
else
    ninja -C build tools/smallmind > build/demo.log 2>&1 || { tail -40 build/demo.log; finish 0 1 0; }
fi

model=${1:-models/stories.gguf}
if [ ! -f "$model" ]; then
    echo "$model: no such file"
    finish 1 1 0
fi
set -- run -m "$model" -p "Once upon a time" -n 300 --temp 0.7 --top-p 0.9 --seed 3
echo "\$ $program$(typed "$@")"
"$program" "$@" || finish 1 1 0

echo
"$program" 2>&1 < /dev/null | sed -n '/^try next:/,$p'
echo "  meson install -C build        as root: for programs in C, see README.md"
echo
finish 2 0 0

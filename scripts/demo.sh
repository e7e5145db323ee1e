#!/usr/bin/env bash
# Builds smallmind and streams a story from the bundled model, or text from another.
#
# Usage: scripts/demo.sh [MODEL.gguf]
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/packages.sh

finish() { # PASSED FAILED SKIPPED
    echo "$1 passed, $2 failed, $3 skipped"
    [ "$2" -eq 0 ]
    exit
}

need_build_packages
install_missing || finish 0 1 0

echo "building in build/ ..."
if [ ! -f build/build.ninja ]; then
    meson setup build --buildtype=release > build-setup.log 2>&1 ||
        { cat build-setup.log; rm -rf build build-setup.log; finish 0 1 0; }
    rm -f build-setup.log
fi
ninja -C build tools/smallmind > build/demo.log 2>&1 || { tail -40 build/demo.log; finish 0 1 0; }

model=${1:-models/stories.gguf}
if [ ! -f "$model" ]; then
    echo "$model: no such file"
    finish 1 1 0
fi
set -- run -m "$model" -p "Once upon a time" -n 300 --temp 0.7 --top-p 0.9 --seed 3
echo "\$ build/tools/smallmind $*"
build/tools/smallmind "$@" || finish 1 1 0
finish 2 0 0

#!/usr/bin/env bash
# Builds smallmind and streams text from a model.
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

model=${1:-../shared/data/models/stories260K.gguf}
if [ ! -f "$model" ]; then
    if [ $# -gt 0 ]; then
        echo "$model: no such file"
    else
        echo "The build is done; now it needs a model, a GGUF file of the llama, qwen2 or qwen3"
        echo "family (mistral and smollm2 models count as llama). With one at hand:"
        echo "    scripts/demo.sh MODEL.gguf"
    fi
    finish 1 1 0
fi
echo "\$ build/tools/smallmind run -m $model -p \"Once upon a time\" -n 100"
build/tools/smallmind run -m "$model" -p "Once upon a time" -n 100 || finish 1 1 0
finish 2 0 0

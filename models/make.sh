#!/usr/bin/env bash
# The commands that made models/stories.gguf, stories-[12].jsonl and stories-[12].svg.
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
# rows of 256 tokens first, which is cheaper; then rows of 512, so that it knows long stories
"$smallmind" train -m "$folder/init.gguf" -d "$folder/stories.txt" -o "$folder/first.gguf" \
    --steps 3200 --rows 8 --sequence 256 --warmup 100 --lr 2e-3 --min-lr 5e-5 --beta2 0.98 \
    --weight-decay 0.1 --validation 0.02 --eval-every 200 --seed 1 \
    --metrics "$folder/stories-1.jsonl" --plot "$folder/stories-1.svg"
"$smallmind" train -m "$folder/first.gguf" -d "$folder/stories.txt" -o "$folder/stories-f32.gguf" \
    --steps 1400 --rows 4 --sequence 512 --warmup 50 --lr 8e-4 --min-lr 2e-5 --beta2 0.98 \
    --weight-decay 0.1 --validation 0.02 --eval-every 200 --seed 2 \
    --metrics "$folder/stories-2.jsonl" --plot "$folder/stories-2.svg"
"$smallmind" quantize "$folder/stories-f32.gguf" "$folder/stories.gguf" Q8_0

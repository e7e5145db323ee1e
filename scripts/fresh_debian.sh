#!/usr/bin/env bash
# Does what README.md says on a Debian that has nothing yet: demo.sh and the command it shows,
# installing, the C example linked both ways, the installed program.
#
# Usage: scripts/fresh_debian.sh [FOLDER]     as root; needs debootstrap and a mirror (MIRROR)
#
# FOLDER is kept, to be looked at (chroot FOLDER) and used again; without, one is made and removed.
set -euo pipefail
cd "$(dirname "$0")/.."

place=${1:-}
if [ -z "$place" ]; then
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
fi
if [ ! -e "$place/bin/sh" ]; then
    debootstrap --variant=minbase bookworm "$place" "${MIRROR:-http://deb.debian.org/debian}"
    cp /etc/resolv.conf "$place/etc/resolv.conf"
fi

inside() { # COMMAND: in /src there, without the environment here
    echo "== $1"
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
        ${http_proxy:+http_proxy="$http_proxy"} unshare --mount sh -ec \
        'mount -t proc proc "$0/proc"; exec chroot "$0" sh -ec "cd /src; $1"' "$place" "$1" 2>&1 |
        tee "$place/output"
}

shows() { # PATTERN: the last output has such a line
    grep -q -- "$1" "$place/output" || { echo "no line like $1"; exit 1; }
}

rm -rf "$place/src" && mkdir "$place/src"
git ls-files -z | tar --null -T - -c | tar -x -C "$place/src"

inside "scripts/demo.sh"
shows "^2 passed, 0 failed, 0 skipped$"
story=$(grep -a "^Once upon a time" "$place/output")
inside "$(sed -n 's/^\$ //p' "$place/output")" # can be copied
shows "^$story$"
inside "meson install -C build"

# the commands below the example; first it becomes the file they name
example=$(sed -n '/^```c$/,/^```$/p' README.md | sed '1d;$d')
printf '%s\n' "$example" > "$place/src/program.c"
grep -E '^(cc program\.c|\./program) ' README.md > "$place/commands"
[ "$(wc -l < "$place/commands")" -eq 4 ]
while read -r command; do
    inside "$command" < /dev/null
    case $command in ./program*) shows "there was" ;; esac
done < "$place/commands"

inside "cd /; smallmind --version; smallmind run -m /src/models/stories.gguf -p 'Once upon a time' -n 20"
shows "^Once upon a time, there was"
echo "everything works as README.md prints it"

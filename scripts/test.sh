#!/usr/bin/env bash
# Runs everything that has to hold before a change goes in. Installs what is missing.
#
# Usage: scripts/test.sh [--all]
#
# Cheap checks come first, then the whole suite in a release build, then parts of it under
# sanitizers, with another compiler and, beside these, on emulated CPUs: what another build has
# shown is not shown again. --all shows it again: the program with a second model, everything quick
# by the other compiler, every case under the sanitizers, an older Arm CPU, a fresh Debian. What
# cannot run here is counted as skipped, never as passed. The last line sums up: N passed, N failed,
# N skipped.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/packages.sh

all=false
case ${1:-} in
--all) all=true ;;
'') ;;
*) sed -n 's/^# \(Usage: .*\)/\1/p' "$0"; exit 2 ;;
esac
passed=0 failed=0 skipped=0
logs=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null; rm -rf "$logs"' EXIT

say() { printf '\n== %s\n' "$*"; }

skip() { # NAME WHY
    skipped=$((skipped + 1))
    echo "skipped: $1: $2"
}

# check NAME COMMAND...: one check, its output shown if it fails
check() {
    local start=$SECONDS
    if "${@:2}" > "$logs/check" 2>&1; then
        passed=$((passed + 1))
        echo "ok:      $1 ($((SECONDS - start)) s)"
    else
        failed=$((failed + 1))
        echo "FAILED:  $1"
        tail -60 "$logs/check"
        return 1
    fi
}

# build DIR MESON_OPTION...: a build folder, brought up to date
build() {
    configure "$@" && ninja -C "$1"
}

configure() {
    local dir=$1
    shift
    if [ "$(cat "$dir/options" 2> /dev/null)" != "$*" ]; then
        rm -rf "$dir"
        meson setup "$dir" "$@" || return 1
        echo "$*" > "$dir/options"
    fi
}

# build_for "NAME..." DIR MESON_OPTION...: only what tests need that are called so, or in such a
# suite, and the program if it is named
build_for() {
    local names=$1 targets
    shift
    configure "$@" || return 1
    read -r -a targets < <(scripts/test_targets.py "$1" $names)
    [ ${#targets[@]} -gt 0 ] && ninja -C "$1" "${targets[@]}"
}

# aside SECTION: that function in the background, as if by itself; joined later
aside() {
    mkdir "$logs/$1"
    (
        passed=0 failed=0 skipped=0 logs=$logs/$1
        trap - EXIT
        "$1" > "$logs/output" 2>&1
        echo "$passed $failed $skipped" > "$logs/counts"
    ) &
}

join() { # SECTION
    local counts
    wait
    cat "$logs/$1/output"
    read -r -a counts < "$logs/$1/counts" || counts=(0 1 0)
    passed=$((passed + counts[0])) failed=$((failed + counts[1])) skipped=$((skipped + counts[2]))
}

# suites DIR ARGUMENT...: meson test there, every test inside counted
suites() {
    local dir=$1 log="$1/meson-logs/testlog.json" counts start=$SECONDS
    shift
    rm -f "$log"
    meson test -C "$dir" --no-rebuild --print-errorlogs "$@" > "$logs/suites" 2>&1
    if [ ! -s "$log" ]; then
        if grep -q '^No tests defined\|No suitable tests' "$logs/suites"; then
            skip "$dir $*" "no such test yet"
        else
            failed=$((failed + 1))
            echo "FAILED:  $dir $*"
            tail -60 "$logs/suites"
        fi
        return
    fi
    read -r -a counts < <(scripts/count_results.py "$log")
    [ "${counts[1]}" -eq 0 ] || sed -n '/Summary of Failures/,$p; /^――/,/^――/p' "$logs/suites" | tail -150
    passed=$((passed + counts[0])) failed=$((failed + counts[1])) skipped=$((skipped + counts[2]))
    echo "$dir $*: ${counts[0]} passed, ${counts[1]} failed, ${counts[2]} skipped" \
        "($((SECONDS - start)) s)"
}

# program_tests NAME EMULATOR DIR TEST...: tests of the program DIR built, under an emulator
program_tests() {
    local counts start=$SECONDS
    SM_WRAPPER=$2 SM_TEST_DATA_DEFAULT=../shared/data python3 tests/tools/test_cli.py \
        "$3/tools/smallmind" build-test/tests/support/tiny-llama.gguf "${@:4}" > "$logs/program" 2>&1
    read -r -a counts < <(scripts/count_results.py --text "$logs/program")
    if [ "${counts[1]}" -gt 0 ] || [ "$((counts[0] + counts[2]))" -eq 0 ]; then
        tail -60 "$logs/program"
        [ "${counts[1]}" -gt 0 ] || counts[1]=1
    fi
    passed=$((passed + counts[0])) failed=$((failed + counts[1])) skipped=$((skipped + counts[2]))
    echo "$1: ${counts[0]} passed, ${counts[1]} failed, ${counts[2]} skipped" \
        "($((SECONDS - start)) s)"
}

# Names the files that clang-format would change, and lines that are too long: comments are left as
# they are, so clang-format does not see theirs. Only texts may not fit.
format_check() {
    local file bad=0
    while read -r file; do
        clang-format-14 "$file" | cmp -s - "$file" || { echo "$file is not formatted"; bad=1; }
    done < <(find include kernels lib tools examples tests -name '*.[ch]')
    LC_ALL=C.UTF-8 grep -rnE '^[^"]{101,}$' include kernels lib tools examples tests \
        --include='*.[ch]' --include='*.inc' && bad=1
    return $bad
}

say "packages"
need_build_packages
need_test_packages
need_command c++ g++
need_command objdump binutils
need_command abidiff abigail-tools
install_missing || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }

# Nice to have: what cannot be installed is reported as skipped further down.
need_command clang-14 clang-14
need_command clang-format-14 clang-format-14
need_command qemu-x86_64 qemu-user
if [ "$(uname -m)" = x86_64 ]; then
    need_command aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
fi
install_missing || missing_packages=()
arm_modules=(libpcre2-8 libutf8proc jansson cmocka)
arm_packages=(libpcre2-dev:arm64 libutf8proc-dev:arm64 libjansson-dev:arm64 libcmocka-dev:arm64)
have_arm_modules() {
    PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig pkg-config --exists "${arm_modules[@]}"
}
if [ "$(uname -m)" = x86_64 ] && ! have_arm_modules && command -v dpkg > /dev/null &&
    command -v aarch64-linux-gnu-gcc > /dev/null &&
    { [ "$(id -u)" -eq 0 ] || command -v sudo > /dev/null; }; then
    as_root dpkg --add-architecture arm64
    missing_packages=("${arm_packages[@]}")
    install_missing || missing_packages=()
fi

say "cheap checks"
if command -v clang-format-14 > /dev/null; then
    check "format" format_check
else
    skip "format" "clang-format-14 is not installed"
fi
check "order of the tree" scripts/check_includes.py
check "rules of the headers" scripts/check_headers.py
check "declarations of the bindings" scripts/bindings.py --check
check "contract of 1.0" scripts/abi.py --check
check "page of models" scripts/models.py --check
check "table of limits" scripts/limits.py

# One core's work, and most of it waits for the emulator.
emulated() {
    say "64-bit Arm, emulated"
    if ! command -v qemu-aarch64 > /dev/null || ! command -v aarch64-linux-gnu-gcc > /dev/null ||
        ! have_arm_modules; then
        skip "Arm build" "no cross compiler, emulator or arm64 libraries here"
    elif check "Arm build" build_for "kernel team smallmind" build-arm \
        --cross-file scripts/cross-aarch64.ini --buildtype=release; then
        check "instructions of each Arm level" scripts/check_objects.py levels build-arm
        suites build-arm --suite kernel --timeout-multiplier 20
        suites build-arm team --timeout-multiplier 20
        # a CPU without the dot product: the program must do without
        QEMU_CPU=cortex-a72 program_tests "the program on a Cortex-A72" qemu-aarch64 build-arm \
            Run Stories.test_text
        if $all; then
            QEMU_CPU=cortex-a72 suites build-arm --suite kernel --timeout-multiplier 20
            program_tests "the program on Arm" qemu-aarch64 build-arm Run Stories.test_text
        fi
    fi

    say "x86-64 without AVX-512, emulated"
    if [ "$(uname -m)" != x86_64 ]; then
        skip "Haswell" "this is no x86-64 machine"
    elif ! command -v qemu-x86_64 > /dev/null; then
        skip "Haswell" "qemu-user is not installed"
    else
        program_tests "the program on a Haswell" "qemu-x86_64 -cpu Haswell" build-test \
            Run Stories.test_text
    fi
}

say "release build, all suites"
# Warnings are errors with the compilers the code was written for; others may have new ones.
werror=false
case $(cc -dumpversion) in 12*) werror=true ;; esac
if check "release build" build build-test --buildtype=release -Dwerror=$werror; then
    for what in exports imports globals; do
        check "symbols: $what" scripts/check_symbols.py $what build-test
    done
    if [ "$(uname -m)" = x86_64 ]; then
        check "instructions of each level" scripts/check_objects.py levels build-test
    else
        skip "instructions of each level" "checked on x86-64 only"
    fi
    if [ "$(uname -m)" = x86_64 ] && $werror; then
        check "stack traffic in tile loops" scripts/check_objects.py stack build-test
    else
        skip "stack traffic in tile loops" "checked for gcc 12 on x86-64 only"
    fi
    aside emulated
    if $all; then suites build-test; else suites build-test --no-suite long; fi
fi

say "clang"
if command -v clang-14 > /dev/null; then
    CC=clang-14 check "clang build" build build-clang --buildtype=release -Dwerror=true &&
        suites build-clang --suite kernel $($all && echo --suite quick)
else
    skip "clang build" "clang-14 is not installed"
fi

patience=5
if $all; then # every case, however many there are
    export SM_TEST_ALL=1
    patience=20
fi

say "address and undefined-behaviour sanitizers"
# Checks as calls: gcc takes minutes over the unrolled kernels when it inlines them.
asan_args=
case $(cc --version) in
*"Free Software"*) asan_args=--param=asan-instrumentation-with-call-threshold=0 ;;
esac
if check "sanitized build" build_for "quick api fault" build-asan --buildtype=debugoptimized \
    -Db_sanitize=address,undefined -Db_lundef=false "-Dc_args=$asan_args"; then
    # allocations that fail are part of the tests
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 \
        suites build-asan --suite quick --suite api --suite fault --timeout-multiplier $patience
fi

say "thread sanitizer"
if check "thread-sanitized build" build_for thread build-tsan --buildtype=debugoptimized \
    -Db_sanitize=thread -Db_lundef=false; then
    TSAN_OPTIONS=halt_on_error=1:allocator_may_return_null=1 \
        suites build-tsan --suite thread --timeout-multiplier $patience
fi

[ -d "$logs/emulated" ] && join emulated

if $all; then
    say "other systems and machines"
    scripts/platforms.sh > "$logs/platforms" 2>&1 || true
    while read -r line; do
        case $line in
        *": skipped"* | *"; not run"*) skip "${line%%:*}" "${line#*: }" ;;
        *": builds, "*) check "${line%%:*}" true ;;
        *FAILED* | *"failed: "*) check "${line%%:*} ${line#*: }" false ;;
        esac
    done < "$logs/platforms"

    say "packages"
    check "release, made twice and used elsewhere" scripts/release.py --try "$logs/release"
    if command -v cmake > /dev/null; then
        check "built by CMake, and as a part of another project" python3 tests/scripts/test_cmake.py \
            . build-test build-test/tests/support/tiny-llama.gguf --build
    else
        skip "built by CMake" "cmake is not installed"
    fi
    for packager in debian conan wraps; do
        if scripts/packagers.sh "$packager" > "$logs/packager" 2>&1; then
            grep -q ': skipped' "$logs/packager" && skip "$packager" "what it needs is not here" ||
                check "$packager package" true
        else
            tail -40 "$logs/packager"
            check "$packager package" false
        fi
    done

    say "a Debian that has nothing yet"
    if [ "$(id -u)" -ne 0 ] || ! command -v debootstrap > /dev/null; then
        skip "fresh Debian" "needs root and debootstrap"
    else
        check "what README.md says on a fresh Debian" scripts/fresh_debian.sh
    fi
fi

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]

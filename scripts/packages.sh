# packages.sh - sourced by the other scripts: finds out what is missing and installs it
# with apt where that is possible. Nothing is installed if nothing is missing.

missing_packages=()

# need_command COMMAND PACKAGE...
need_command() {
    command -v "$1" > /dev/null || missing_packages+=("${@:2}")
}

# need_module PKG_CONFIG_MODULE PACKAGE
need_module() {
    pkg-config --exists "$1" 2> /dev/null || missing_packages+=("$2")
}

need_build_packages() {
    need_command cc gcc libc6-dev
    need_command meson meson
    need_command ninja ninja-build
    need_command pkg-config pkg-config
    need_module libxxhash libxxhash-dev
    need_module jansson libjansson-dev
    need_module libedit libedit-dev # the program edits its lines with it
}

need_test_packages() {
    need_module cmocka libcmocka-dev
    need_module libpcre2-8 libpcre2-dev
    need_module libutf8proc libutf8proc-dev
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# install_missing [TIME]: installs what is missing, which takes so long; fails if it cannot.
install_missing() {
    [ ${#missing_packages[@]} -gt 0 ] || return 0
    echo "missing: ${missing_packages[*]}"
    if ! command -v apt-get > /dev/null; then
        echo "please install these (Debian's names), then run this again" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo > /dev/null; then
        echo "please run as root: apt-get install ${missing_packages[*]}" >&2
        return 1
    fi
    echo "installing them with apt${1:+ ($1)} ..."
    as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" > /dev/null ||
        return 1
    missing_packages=()
}

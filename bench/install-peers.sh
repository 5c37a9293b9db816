#!/usr/bin/env bash
# Puts the peers of the benchmark into target/bench-tools (or the directory given), each from where
# its project or Debian publishes it. What is there already stays; a peer that cannot be had is
# named, and its columns stay out. Nothing outside the directory changes, except that libraries to
# build against are installed where this runs as root on Debian.
set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
tools=$(realpath -m "${1:-target/bench-tools}")
mkdir -p "$tools/bin"
log=$tools/install.log

missing() { [[ ! -x $tools/bin/$1 ]]; }

# attempt NAME FUNCTION: runs the function quietly, and says how it ended.
attempt() {
    missing "$1" || return 0
    printf 'installing %s …\n' "$1" >&2
    if (set -e; "$2") >"$log" 2>&1 && ! missing "$1"; then
        return 0
    fi
    tail -n 5 "$log" >&2
    printf '%s cannot be installed (above); put it on the PATH, or do without it\n' "$1" >&2
}

libraries() {
    if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" ||
            { apt-get -q update &&
                DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"; }
    fi
}

# Debian 13 has 0.18, a static program: fetched by apt into a state of its own, checked by Debian's
# keys, and unpacked without being installed.
restic() {
    local apt=$tools/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]' \
        'http://deb.debian.org/debian trixie main' >"$apt/sources.list"
    local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache")
    apt-get -q "${options[@]}" update
    (cd "$apt" && apt-get -q "${options[@]}" download restic && dpkg-deb -x restic_*.deb unpacked)
    cp "$apt/unpacked/usr/bin/restic" "$tools/bin/"
    rm -rf "$apt"
}

borg() {
    libraries libacl1-dev liblz4-dev libzstd-dev libxxhash-dev libssl-dev pkg-config gcc
    python3 -m venv "$tools/borg"
    "$tools/borg/bin/pip" install --quiet 'borgbackup==1.4.*'
    ln -sf "$tools/borg/bin/borg" "$tools/bin/borg"
}

bupstash() {
    libraries libsodium-dev pkg-config gcc
    CARGO_TARGET_DIR=$tools/build nice cargo install --quiet --locked --root "$tools" bupstash
}

rustic() {
    CARGO_TARGET_DIR=$tools/build nice cargo install --quiet --locked --no-default-features \
        --root "$tools" rustic-rs
}

attempt restic restic
attempt borg borg
attempt bupstash bupstash
attempt rustic rustic
rm -rf "$tools/build"
if missing vykar && ! command -v vykar >/dev/null; then
    printf 'vykar is in no registry; where its binary is on the PATH or in %s, it takes part\n' \
        "$tools/bin" >&2
fi

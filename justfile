# What CI runs, and the slow ones. `./test` needs none of this; the recipes run its steps alone.

[private]
default:
    @just --list --unsorted

# everything that has to pass
test:
    ./test

# what a newcomer wants to see: seal, lose a node, restore by quorum
demo *ARGUMENTS:
    cargo run --quiet -- demo {{ARGUMENTS}}

# the rules the compiler does not know
tidy:
    cargo xtask tidy

# the golden vectors, by a second implementation
vectors:
    set -e; for checker in docs/vectors/check_*.py; do python3 "$checker"; done

# licences, banned and duplicate crates, sources
deny: (install "deny")
    cargo deny --log-level error check licenses bans sources

# known vulnerabilities; needs the network
advisories: (install "deny")
    cargo deny check advisories

# one fuzz target for so many seconds; without a name, their list
fuzz TARGET="" SECONDS="60": (install "fuzz")
    #!/usr/bin/env bash
    set -euo pipefail
    # libFuzzer's flags are unstable; this takes them from the stable compiler.
    export RUSTC_BOOTSTRAP=1
    if [[ -z "{{TARGET}}" ]]; then exec cargo fuzz list; fi
    mkdir -p "fuzz/corpus/{{TARGET}}"
    exec cargo fuzz run "{{TARGET}}" "fuzz/corpus/{{TARGET}}" "fuzz/seeds/{{TARGET}}" -- \
        -max_total_time="{{SECONDS}}" -max_len=65536 -timeout=10 -rss_limit_mb=2048

# seeds of the fuzz targets, after a format has changed
seeds:
    cargo run --quiet --manifest-path fuzz/Cargo.toml --example seeds

# lines the tests reach, in the rooms where a wrong line loses data or secrets; where rustup has no
# llvm-tools, LLVM_COV and LLVM_PROFDATA name a distribution's (LLVM 19 reads what Rust 1.95 writes)
coverage: (install "llvm-cov")
    cargo llvm-cov nextest --cargo-quiet --fail-under-lines 90 --summary-only \
        --package seawall-sign --package seawall-seal --package seawall-escrow \
        --package seawall-tlog --package seawall-record --package seawall-store

# manual pages, one for each command
man DIR="target/man":
    cargo run --quiet -- man {{DIR}}

[private]
install TOOL:
    cargo {{TOOL}} --version >/dev/null 2>&1 || cargo install --locked cargo-{{TOOL}}

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

# the attacks of the threat table, with what stopped each
attack:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo nextest run --cargo-quiet --package seawall --locked --success-output immediate attack:: 2>&1 |
        grep --line-buffered -E '^ *attack: |FAIL|Summary|error|panicked'

# licences, banned and duplicate crates, sources
deny: (install "deny")
    cargo deny --log-level error check licenses bans sources

# known vulnerabilities; needs the network
advisories: (install "deny")
    cargo deny check advisories

# PostgreSQL as a source, with a server of its own (Debian: apt-get install postgresql)
postgres:
    cargo nextest run --cargo-quiet --package seawall --locked --run-ignored only postgres::

# one fuzz target for so many seconds; without a name, their list
fuzz TARGET="" SECONDS="60": (install "fuzz")
    #!/usr/bin/env bash
    set -euo pipefail
    # libFuzzer's flags are unstable; this takes them from the stable compiler.
    export RUSTC_BOOTSTRAP=1
    if [[ -z "{{TARGET}}" ]]; then exec cargo fuzz list; fi
    mkdir -p "fuzz/corpus/{{TARGET}}"
    # A thread that has been joined may still be freeing what it had: no leak of ours.
    exec cargo fuzz run "{{TARGET}}" "fuzz/corpus/{{TARGET}}" "fuzz/seeds/{{TARGET}}" -- \
        -max_total_time="{{SECONDS}}" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -detect_leaks=0

# seeds of the fuzz targets, after a format has changed
seeds:
    cargo run --quiet --manifest-path fuzz/Cargo.toml --example seeds

# lines the tests reach, in the rooms where a wrong line loses data or secrets; where rustup has no
# llvm-tools, LLVM_COV and LLVM_PROFDATA name a distribution's (LLVM 19 reads what Rust 1.95 writes)
coverage: (install "llvm-cov")
    cargo llvm-cov nextest --cargo-quiet --fail-under-lines 90 --summary-only \
        --package seawall-sign --package seawall-seal --package seawall-escrow \
        --package seawall-tlog --package seawall-record --package seawall-store

# seawall beside restic, rustic, borg, bupstash and vykar; `--quick` tries it, `--help` says more
bench-peers *ARGUMENTS:
    bench/install-peers.sh
    cargo build --quiet --release --package seawall
    cargo run --quiet --release --manifest-path bench/Cargo.toml -- {{ARGUMENTS}}

# peak memory and look-ups with an index of 50 million objects
bench-memory *ARGUMENTS:
    cargo run --quiet --release --package seawall-store --example index_memory -- {{ARGUMENTS}}

# queries over 10 million paths in 100 snapshots
bench-find *ARGUMENTS:
    cargo run --quiet --release --package seawall-backup --example find_speed -- {{ARGUMENTS}}

# durable appends a second to a log on one core, by how many share one fsync
bench-log DIR="target/bench/log-speed":
    cargo run --quiet --release --package seawall-tlog --example log_speed -- {{DIR}}

# the chunker on one core, by instruction set
bench-chunker *ARGUMENTS:
    cargo run --quiet --release --package seawall-backup --example chunker_speed -- {{ARGUMENTS}}

# what the primitives alone would take for a first backup of a directory
bench-primitives DIR *ARGUMENTS:
    cargo run --quiet --release --package seawall-backup --example primitives -- {{ARGUMENTS}} "{{DIR}}"

# the tests of the benchmark itself, which is outside the workspace
bench-test:
    cargo fmt --check --manifest-path bench/Cargo.toml
    cargo clippy --quiet --all-targets --manifest-path bench/Cargo.toml -- --deny warnings
    cargo test --quiet --manifest-path bench/Cargo.toml

# manual pages, one for each command
man DIR="target/man":
    cargo run --quiet -- man {{DIR}}

[private]
install TOOL:
    cargo {{TOOL}} --version >/dev/null 2>&1 || cargo install --locked cargo-{{TOOL}}

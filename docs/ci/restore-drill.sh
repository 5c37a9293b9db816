#!/usr/bin/env bash
# One restore drill on a machine that has nothing of yours; docs/manual/drills-in-ci.md says how it
# is set up. Run it in a clone of the drills' own repository: it takes the drill node's home from
# home.tar.gz.gpg, publishes the report in site/, and pushes both. Arguments go to the drill.
#
#   SEAWALL_URL       where the program is
#   SEAWALL_SHA256    its digest
#   DRILL_PASSPHRASE  of home.tar.gz.gpg
#
# Ends with the drill's exit code: 0 passed, 3 passed with something to look at, 1 failed.
set -euo pipefail
: "${SEAWALL_URL:?}" "${SEAWALL_SHA256:?}" "${DRILL_PASSPHRASE:?}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SEAWALL_HOME=$work/drill TMPDIR=$work PATH=$work/bin:$PATH

secret() {
    gpg --batch --quiet --yes --pinentry-mode loopback \
        --passphrase-file <(printf '%s\n' "$DRILL_PASSPHRASE") "$@"
}

keep() {
    tar -czf "$work/home.tar.gz" -C "$work" drill drill-canary
    secret --output home.tar.gz.gpg --symmetric "$work/home.tar.gz"
    git add --all .
    git -c user.name=drill -c user.email=drill@localhost commit --quiet --message "$1"
    git push --quiet
}

mkdir "$work/bin"
curl --fail --silent --show-error --location --retry 3 --output "$work/bin/seawall" "$SEAWALL_URL"
printf '%s  %s\n' "$SEAWALL_SHA256" "$work/bin/seawall" | sha256sum --check --quiet
chmod 755 "$work/bin/seawall"
secret --output "$work/home.tar.gz" --decrypt home.tar.gz.gpg
tar -xzf "$work/home.tar.gz" -C "$work"

ended=0
seawall drill canary --elsewhere "$@" || ended=$?
# Kept before the region sees the log, and after: a home that goes back behind what others have
# seen of its log is refused from then on.
keep "drill ended with $ended"
seawall sync || ended=1
# With what the region and the witnesses signed.
seawall report publish --to site
keep "report"
exit "$ended"

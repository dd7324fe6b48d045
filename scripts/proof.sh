#!/bin/sh
# See to the programs that judge launch files: an environment of their own, .proof, and Debian's packages where we are
# root. Runs only where something changed; what can't be had is said, and its tests are skipped with that reason.
set -eu
cd "$(dirname "$0")/.."

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

list=scripts/proof-requirements.txt
stamp=.proof/.installed
wanted=$(cksum <"$list")
if ! [ -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ] || ! .proof/bin/python -c '' 2>/dev/null; then
    echo "Installing what $list lists into .proof ..."
    rm -rf .proof
    .venv/bin/python -m venv .proof
    .proof/bin/python -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: --no-deps \
        --require-hashes -r "$list" || fail "The packages of $list could not be installed: is the package index reachable?"
    printf '%s' "$wanted" >"$stamp"
fi

sh scripts/proof_compose.sh

# a program that shows that a package is there, and the package
missing=""
for pair in nginx:nginx /usr/lib/nginx/modules/ngx_http_js_module.so:libnginx-mod-http-js sbatch:slurm-client \
    slurmctld:slurmctld slurmd:slurmd munged:munge systemd-analyze:systemd; do
    program=${pair%%:*}
    command -v "$program" >/dev/null 2>&1 || [ -e "$program" ] || [ -x "/usr/sbin/$program" ] || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing$missing ..."
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "Not installed, and their tests will be skipped:$missing (Debian, Ubuntu: apt install$missing)"
fi

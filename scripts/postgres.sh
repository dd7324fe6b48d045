#!/bin/sh
# See to a PostgreSQL server for the tests: the system's, else Debian's package where we are root. No server is started.
set -eu
for bin in /usr/lib/postgresql/*/bin; do
    [ -x "$bin/initdb" ] && exit 0
done
command -v initdb >/dev/null 2>&1 && exit 0
echo "No PostgreSQL found: fetching one for the tests ..."
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
    exit 0
fi
echo "Install PostgreSQL (Debian, Ubuntu: apt install postgresql), then run this again." >&2
exit 1

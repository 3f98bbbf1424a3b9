#!/bin/sh
# Installs what the demo needs and this machine lacks; with the argument "test"
# what the tests need, with "test-kubernetes" what those on a cluster need, with
# "bench" what the benchmarks need besides, with "bench-edge" and "bench-data" what
# those of the edge and of data need. It changes
# nothing where everything is there. On Debian as root it installs by itself;
# elsewhere it says what is missing. It starts no service.
set -eu

missing=""
need() { # command package
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need_file() { # package, and paths of which one must exist
	package=$1
	shift
	for path; do
		[ ! -e "$path" ] || return 0
	done
	missing="$missing $package"
}
need git git
need_file ca-certificates /etc/ssl/certs/ca-certificates.crt
case "${1:-}" in
test | bench)
	need gcc gcc # the race detector
	need_file libc6-dev /usr/include/stdlib.h
	need nsenter util-linux
	need setpriv util-linux
	need taskset util-linux
	need node nodejs
	need python3 python3
	need_file postgresql /usr/lib/postgresql/*/bin/postgres
	need_file pgbouncer /usr/sbin/pgbouncer
	need mariadbd mariadb-server-core # the server alone: nothing is started
	need mariadb-dump mariadb-client
	need mariadb-backup mariadb-backup
	need restic restic
	need redis-check-rdb redis-tools
	need_file openssh-server /usr/sbin/sshd
	need_file openssh-sftp-server /usr/lib/openssh/sftp-server
	need_file libapache2-mod-php /usr/lib/apache2/modules/libphp*.so
	need_file wordpress /usr/share/wordpress/wp-load.php
	need icecast2 icecast2
	need gunicorn gunicorn
	need_file python3-django /usr/lib/python3/dist-packages/django
	need_file python3-psycopg2 /usr/lib/python3/dist-packages/psycopg2
	need_file python3-dj-database-url /usr/lib/python3/dist-packages/dj_database_url.py
	need_file python3-whitenoise /usr/lib/python3/dist-packages/whitenoise
	need_file faketime /usr/lib/*/faketime/libfaketimeMT.so.1
	;;
test-kubernetes) # what a node is made of
	need containerd containerd
	need runc runc
	need_file containernetworking-plugins /usr/lib/cni/bridge
	need iptables iptables
	need nft nftables
	need ip iproute2
	need nsenter util-linux
	need_file busybox-static /bin/busybox # what the images of its apps are made of
	need_file postgresql /usr/lib/postgresql/*/bin/postgres
	;;
bench-data) # a peer
	need pgbackrest pgbackrest
	;;
bench-edge) # the peers, and what loads them
	need nginx nginx-light
	need haproxy haproxy
	need varnishd varnish
	need wrk wrk
	need h2load nghttp2-client
	need openssl openssl
	need taskset util-linux
	;;
esac
# Debian keeps the server's program in redis-tools; redis-server would add a
# service that runs on the usual port.
[ "${1:-}" != bench ] || need redis-check-rdb redis-tools

if ! command -v go >/dev/null 2>&1; then
	echo "Go is missing: install 1.26 or newer from https://go.dev/dl/" >&2
	exit 1
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "missing:$missing; install them, on Debian with: sudo apt-get install$missing" >&2
	exit 1
fi
# Only the server's programs are wanted: where PostgreSQL is new, Debian makes no
# cluster of its own, see createcluster.conf. What is installed later is not ours.
clusters=/etc/postgresql-common/createcluster.d/springtide.conf
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
	mkdir -p "${clusters%/*}"
	echo "create_main_cluster = false" >"$clusters"
else
	clusters=""
fi
# Nor is anything else to be started because it was installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
else
	policy=""
fi
trap 'rm -f $clusters $policy' EXIT
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing

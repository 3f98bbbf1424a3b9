#!/bin/sh
# Installs what the demo, or with the argument "test" the tests, need and this
# machine lacks. It changes nothing where everything is there. On Debian as root it installs by itself;
# elsewhere it says what is missing.
set -eu

missing=""
need() { # command package
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need git git
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
if [ "${1:-}" = test ]; then
	need gcc gcc # the race detector
	[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"
	need nsenter util-linux
	need setpriv util-linux
	need taskset util-linux
	need node nodejs
	need python3 python3
fi

if ! command -v go >/dev/null 2>&1; then
	echo "Go is missing: install 1.26 or newer from https://go.dev/dl/" >&2
	exit 1
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	apt-get update -qq
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
else
	echo "missing:$missing; install them, on Debian with: sudo apt-get install$missing" >&2
	exit 1
fi

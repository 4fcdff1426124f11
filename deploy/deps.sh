#!/usr/bin/env bash
# Installs the Debian packages that a build (or the tests) need and that are
# missing. Uses root, or sudo without a password prompt getting in the way of a
# script; otherwise prints the one line to run and exits 1.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)

build="gcc make pkg-config libc6-dev libqpid-proton11-dev liblmdb-dev libmicrohttpd-dev
	libjansson-dev libuv1-dev libssl-dev zlib1g-dev libsnappy-dev liblz4-dev libzstd-dev"
test="check curl openssl xz-utils python3 python3-qpid-proton python3-azure kcat python3-kafka
	python3-confluent-kafka python3-snappy python3-lz4 python3-zstandard"

want="$build"
if [ "${1:-build}" = test ]; then
	want="$build $test"
fi

missing=""
for p in $want; do
	# shellcheck disable=SC1087
	if ! dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed'; then
		missing="$missing $p"
	fi
done

if [ -n "$missing" ]; then
	line="apt-get install -y --no-install-recommends$missing"
	if [ "$(id -u)" = 0 ]; then
		run=""
	elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		run="sudo"
	else
		echo "Some packages are missing. As root, run:" >&2
		echo "  apt-get update && $line" >&2
		exit 1
	fi
	echo "installing:$missing"
	export DEBIAN_FRONTEND=noninteractive
	log=$(mktemp)
	# shellcheck disable=SC2086
	if ! { $run apt-get update -q && $run env DEBIAN_FRONTEND=noninteractive $line -q; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		echo "Installing failed. To see why, run as root: apt-get update && $line" >&2
		exit 1
	fi
	rm -f "$log"
fi

# The JavaScript clients need Node 20, which Debian 12 does not have: they are
# installed where it is there, and their tests are counted as left out elsewhere.
if [ "${1:-build}" = test ] && command -v npm >/dev/null &&
	[ "$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)" -ge 20 ]; then
	js="$top/build/interop/js"
	if ! cmp -s "$top/test/interop/js/package-lock.json" "$js/.installed"; then
		mkdir -p "$js"
		cp "$top/test/interop/js/package.json" "$top/test/interop/js/package-lock.json" "$js/"
		echo "installing: JavaScript clients"
		if (cd "$js" && npm ci --no-audit --no-fund --loglevel=error) >"$js/npm.log" 2>&1; then
			cp "$js/package-lock.json" "$js/.installed"
		else
			tail -n 5 "$js/npm.log" >&2
			echo "npm ci failed: the JavaScript clients will be left out" >&2
		fi
	fi
fi

if [ "${1:-build}" = test ]; then
	bash "$top/test/interop/kafka/install.sh"
	echo "time: installs took $SECONDS s (budget 300 s)"
fi

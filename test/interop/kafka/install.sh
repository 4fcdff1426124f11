#!/usr/bin/env bash
# Gets the Java and Go clients that the Kafka checks use unmodified, and compiles
# the checks against them: jars from Maven Central (their digests are pinned in
# java/jars.sha256), modules from the Go module proxy (pinned by go/go.sum). Where
# there is no JDK 17, no Go, or no network, their checks are counted as left out.
set -u
cd "$(dirname "$0")/../../.." || exit 1
here=test/interop/kafka
into=build/interop/kafka
central=https://repo1.maven.org/maven2
jars="org/apache/kafka/kafka-clients/3.9.2/kafka-clients-3.9.2.jar
	org/apache/kafka/kafka-clients/4.3.1/kafka-clients-4.3.1.jar
	com/github/luben/zstd-jni/1.5.6-4/zstd-jni-1.5.6-4.jar
	at/yawk/lz4/lz4-java/1.10.1/lz4-java-1.10.1.jar
	org/xerial/snappy/snappy-java/1.1.10.5/snappy-java-1.1.10.5.jar
	org/slf4j/slf4j-api/1.7.36/slf4j-api-1.7.36.jar"
mkdir -p "$into/jars"

# The state that made what is installed: unchanged files are not made again.
state() { cat "$@" | sha256sum; }
is_made() { [ "$(cat "$into/$1" 2>/dev/null)" = "$2" ]; }

java_clients() {
	local now at
	now=$(state "$here"/java/*)
	is_made .java "$now" && return 0
	echo "installing: Java Kafka clients"
	for at in $jars; do
		[ -f "$into/jars/${at##*/}" ] ||
			curl -sSf --max-time 120 -o "$into/jars/${at##*/}" "$central/$at" || return 1
	done
	(cd "$into/jars" && sha256sum -c --quiet) <"$here/java/jars.sha256" || return 1
	for version in 3.9.2 4.3.1; do
		javac -nowarn -d "$into/java-$version" -cp "$(others):$into/jars/kafka-clients-$version.jar" \
			"$here"/java/*.java 2>&1 | grep -v '^Note:'
		[ "${PIPESTATUS[0]}" = 0 ] || return 1
	done
	echo "$now" >"$into/.java"
}
others() { find "$into/jars" -name '*.jar' ! -name 'kafka-clients*' | paste -sd: -; }

go_client() {
	local now
	now=$(state "$here"/go/*)
	is_made .go "$now" && return 0
	echo "installing: Go Kafka client"
	(cd "$here/go" && GOFLAGS="-modcacherw -buildvcs=false" GOMODCACHE="$OLDPWD/build/interop/go" GOTOOLCHAIN=local \
		go build -o "$OLDPWD/$into/go-client" .) || return 1
	echo "$now" >"$into/.go"
}

version_of() { "$@" 2>&1 | grep -oE '[0-9]+(\.[0-9]+)?' | head -n 1; }
enough() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

if command -v javac >/dev/null && enough 17 "$(version_of javac -version)"; then
	java_clients || { rm -f "$into/.java"; echo "the Java Kafka clients will be left out" >&2; }
fi
if command -v go >/dev/null && enough 1.24 "$(version_of go version)"; then
	go_client || { rm -f "$into/.go"; echo "the Go Kafka client will be left out" >&2; }
fi
exit 0

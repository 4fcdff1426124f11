#!/usr/bin/env bash
# Rules that a compiler does not know: layers, third-party headers, guards, size.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
complain() {
	echo "$*"
	bad=1
}
files=$(find base auth throttle store gateway -name '*.[ch]' -o -name '*.def' -path 'base/*')

# Which folders a folder may include (besides itself).
allowed() {
	case $1 in
	base) echo "" ;;
	auth | throttle) echo "base" ;;
	store/volume | store/catalog) echo "base store/types.h store/volume store/catalog" | sed "s#$1##" ;;
	store/shard) echo "base store" ;;
	store) echo "base store" ;;
	gateway/wire) echo "base store/types.h" ;;
	gateway/core) echo "base auth throttle store" ;;
	gateway/net) echo "base" ;;
	gateway/group) echo "base store" ;;
	gateway/amqp) echo "base auth gateway/core gateway/net gateway/wire" ;;
	gateway/http) echo "base auth gateway/core gateway/group gateway/net gateway/wire" ;;
	gateway/kafka) echo "base auth gateway/core gateway/group gateway/net gateway/wire" ;;
	gateway/cli) echo "base auth gateway/net/dial.h gateway/wire gateway/kafka/codec.h gateway/kafka/messages.h gateway/units.h gateway/config.h store/verify.h store/store.h store/backup_copy.h" ;;
	gateway) echo "base auth store gateway" ;;
	*) echo "?" ;;
	esac
}

for f in $files; do
	dir=$(dirname "$f")
	ok=$(allowed "$dir")
	[ "$ok" != "?" ] || complain "$f: unknown folder $dir; give it a layer in test/lint.sh"
	for inc in $(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$f"); do
		case $inc in
		../* | ./*) complain "$f: relative include $inc" ;;
		esac
		inc_dir=$(dirname "$inc")
		[ "$inc_dir" = "$dir" ] && continue
		fine=0
		for a in $ok; do
			case $inc in "$a" | "$a"/*) fine=1 ;; esac
		done
		[ $fine = 1 ] || complain "$f: may not include $inc (layers)"
	done
done

# store/volume and store/catalog stand beside each other.
grep -l '#include "store/catalog' store/volume/*.[ch] 2>/dev/null | while read -r f; do echo "$f: includes store/catalog"; done | grep . && bad=1
grep -l '#include "store/volume' store/catalog/*.[ch] 2>/dev/null | while read -r f; do echo "$f: includes store/volume"; done | grep . && bad=1

# A third-party header appears in one folder (OpenSSL in two).
third() { # pattern, folders as a regular expression
	grep -lE "#include <($1)" $files | grep -vE "^($2)" | while read -r f; do
		echo "$f: third-party header <$1>"
	done | grep . && bad=1
}
third 'proton/' 'gateway/amqp/'
third 'microhttpd' 'gateway/http/'
third 'lmdb' 'store/volume/'
third 'uv\.h' 'gateway/net/'
third 'openssl/' 'gateway/net/|base/crypto\.c'
third 'jansson' 'gateway/http/|gateway/config|gateway/cli/'
third 'zlib\.h|snappy|lz4|zstd' 'gateway/wire/'

for f in $(find base auth throttle store gateway -name '*.h'); do
	guard=$(echo "$f" | tr 'a-z/.' 'A-Z__')
	grep -q "^#ifndef $guard$" "$f" || complain "$f: guard is not $guard"
	[ "$(tail -n 1 "$f")" = "#endif" ] || complain "$f: the guard does not end the file"
done
for f in $(find base auth throttle store gateway -name '*.c'); do
	h=${f%.c}.h
	if [ -f "$h" ]; then
		first=$(sed -n 's/^#include [<"]\([^">]*\)[">].*/\1/p' "$f" | head -n 1)
		[ "$first" = "$h" ] || complain "$f: includes $first before its own header"
	fi
done
for f in $(find base auth throttle store gateway test -name '*.[ch]'); do
	n=$(wc -l <"$f")
	[ "$n" -le 900 ] || complain "$f: $n lines; split it by subject"
done
grep -nE '\b(TODO|FIXME|XXX)\b' -r base auth throttle store gateway deploy test --include='*.[ch]' --include='*.sh' --include='*.py' --include='*.mjs' | grep -v 'test/lint.sh' && bad=1
grep -nE '\bpthread_(mutex|cond)_' -r auth throttle store gateway --include='*.[ch]' && complain "locks go through base/lock.h"
for d in base auth throttle store/* gateway/*/; do
	d=${d%/}
	[ -d "$d" ] || continue
	[ -f "$d/README.md" ] || complain "$d: no README.md"
done
[ $bad = 0 ] && echo "lint: nothing found"
exit $bad

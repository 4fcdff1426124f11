#!/usr/bin/env bash
# Data directories of every format version ever released open and read the same.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh
for kept in test/formats/*.tar.xz; do
	name=$(basename "$kept" .tar.xz)
	rm -rf "$DATA" "$WORK_DIR/more"
	tar -C "$WORK_DIR" -xJf "$kept"
	set --
	[ ! -d "$WORK_DIR/more" ] || set -- --data "$WORK_DIR/more"
	server_start "$@" || { not_ok "$name opens" "$(tail -n 3 "$WORK_DIR/log")"; continue; }
	ok "$name opens"
	head -qn 1 "$WORK_DIR"/*/VERSION | grep -qvx 'sluice-data 4' && not_ok "$name: is of the present format" || ok "$name: is of the present format"
	cli() { "$SLUICE_BIN" "$@" --data "$DATA"; }
	for h in alpha beta; do cli receive "$h" --from earliest --json | sort; done >"$WORK_DIR/all"
	sum=$(cut -c1-400 "$WORK_DIR/all" | sha256sum | cut -d' ' -f1)
	if [ "$sum" = "$(sed -n 1p "test/formats/$name.events")" ] && [ "$(wc -l <"$WORK_DIR/all")" = "$(sed -n 2p "test/formats/$name.events")" ]; then
		ok "$name: every event as it was"
	else
		not_ok "$name: every event as it was" "$(wc -l <"$WORK_DIR/all") events"
	fi
	cli group list alpha | grep -q audit && ok "$name: groups" || not_ok "$name: groups"
	cli policy show sender --hub alpha >/dev/null && ok "$name: policies" || not_ok "$name: policies"
	if [ "$name" != v1 ]; then
		cli group show readers | grep -q '^beta .* 50  *50  *0 ' && ok "$name: committed offsets" ||
			not_ok "$name: committed offsets" "$(cli group show readers | tail -n 1)"
	fi
	if [ "$name" != v1 ] && [ "$name" != v2 ]; then
		cli receive latest --from earliest --json | grep -c value20 | grep -qx 10 && ok "$name: the newest of each key" ||
			not_ok "$name: the newest of each key" "$(cli receive latest --from earliest --json | wc -l)"
		[ "$(cli receive latest --from earliest --json | wc -l)" -lt 200 ] && ok "$name: and not the others" || not_ok "$name: and not the others"
	fi
	units=$(cli units show --json | tr -d ' \n')
	limits=$(cli limit list --json | grep -oE '"kind": *"[a-z]*"' | wc -l)
	case $name in
	v[123]) want='"units":0' count=0 ;;
	*) want='"units":41' count=5 ;;
	esac
	grep -qF "$want," <<<"$units" && [ "$limits" = "$count" ] && ok "$name: units and limits" ||
		not_ok "$name: units and limits" "$limits limits, $units"
	if [ "$count" = 5 ]; then
		cli limit list --json | tr -d ' \n' | grep -qF '"name":"alpha/sender","inBytes":31457280,"inEvents":30000,' &&
			ok "$name: a limit as it was" || not_ok "$name: a limit as it was" "$(cli limit list)"
	fi
	cli limit set hub beta --units 100 >/dev/null && cli limit list | grep -q beta && ok "$name: takes limits" || not_ok "$name: takes limits"
	cli hub list | grep -q gone && not_ok "$name: a deleted hub stays away" || ok "$name: a deleted hub stays away"
	printf 'more\n' | cli send alpha --partition 0 2>/dev/null
	cli receive alpha --partition 0 --from sequence=300 2>/dev/null | grep -q more && ok "$name: goes on" || not_ok "$name: goes on"
	server_stop || not_ok "$name: stops" "status $?"
done
finish

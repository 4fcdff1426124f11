#!/usr/bin/env bash
# Power cuts: a server's file operations are recorded while clients write, then the
# power is cut at thousands of places of that record, and what a disk may hold then is
# opened and compared with what was acknowledged. `long`: many records, an hour.
# SLUICE_SEED repeats a run's choices; a failure keeps its record in build/test-logs.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh
rounds=1
record_seconds=18
check_seconds=40
if [ "${1:-}" = long ]; then
	rounds=8
	record_seconds=30
	check_seconds=260
fi
seed=${SLUICE_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
make -s -j"$(nproc)" power-bins || { not_ok "power: the tools build"; finish; }
check_bin=$PWD/build/release/fault/power_check
preload=$PWD/build/release/fault/power.so
# Memory, when there is enough of it: no sync there takes any time.
images=$(mktemp -d /dev/shm/sluice-power.XXXXXX 2>/dev/null || mktemp -d "$WORK_DIR/power.XXXXXX")
trap 'rm -rf "$images"; cleanup' EXIT

cut() { # directory, seed, seconds, log, options
	local dir=$1 log=$4 cut_seed=$2 seconds=$3
	shift 4
	"$check_bin" "$log" "$dir/journal" "$images/cut" --seed "$cut_seed" --seconds "$seconds" \
		--dirs "$(cat "$dir/dirs")" "$@"
}

round() { # seed
	local dir=$WORK_DIR/$1 bad=0
	mkdir -p "$dir"
	echo "seed=$1"
	/usr/bin/python3 test/fault/power/workload.py "$SLUICE_BIN" "$preload" "$dir" \
		"$record_seconds" "$1" || bad=1
	if [ -s "$dir/journal" ]; then
		cut "$dir" "$1" "$check_seconds" "$dir/oplog" --preload "$preload" || bad=1
	else
		tail -n 5 "$dir/log"
		bad=1
	fi
	# A backup that is cut, a restore that is cut, and the first start of what was restored.
	for what in backup restore; do
		[ ! -s "$dir/$what.options" ] ||
			cut "$dir" "$1" $((check_seconds / 9)) "$dir/$what.oplog" $(cat "$dir/$what.options") || bad=1
	done
	[ ! -s "$dir/from.options" ] || cut "$dir" "$1" $((check_seconds / 9)) "$dir/oplog" \
		--preload "$preload" --from "$dir/restored" $(cat "$dir/from.options") || bad=1
	if [ $bad = 0 ]; then
		ok "power: what was acknowledged survives every cut (seed $1)"
		[ "$1" = $((seed + rounds - 1)) ] || rm -rf "$dir"
	else
		not_ok "power: what was acknowledged survives every cut" "seed=$1 kept in build/test-logs/power-$1"
		mkdir -p build/test-logs
		rm -rf "build/test-logs/power-$1" "$dir/root"
		cp "$images"/cut/*.oplog "$dir"/ 2>/dev/null
		mv "$dir" "build/test-logs/power-$1"
	fi
}

for i in $(seq 1 "$rounds"); do
	round $((seed + i - 1))
done
# The test itself: without the syncs of one kind of file there must be losses.
last=$WORK_DIR/$((seed + rounds - 1))
if [ -s "$last/journal" ]; then
	for files in '*.mdb' '*/segments'; do
		if cut "$last" "$seed" 10 "$last/oplog" --ignore "$files" >"$WORK_DIR/out" 2>&1; then
			not_ok "power: syncs of $files that are left out are found" "seed=$seed"
		else
			ok "power: syncs of $files that are left out are found"
		fi
	done
fi
finish

#!/usr/bin/env bash
# Runs test layers and counts. `test/run.sh all` is `make test`; a layer's name
# runs that layer alone. Ends with one line: N passed, N failed[, N skipped].
set -u
cd "$(dirname "$0")/.." || exit 1
layer=${1:-all}
passed=0
failed=0
left_out=0
left_out_names=""
logs=build/test-logs
mkdir -p "$logs"
jobs=$(nproc)

say() { printf '\n== %s\n' "$*"; }
note_failure() {
	failed=$((failed + 1))
	echo "FAILED: $1"
}
leave_out() { # name, reason, how many tests
	left_out=$((left_out + ${3:-1}))
	left_out_names="$left_out_names $1($2)"
	echo "left out: $1: $2"
}

# Counts a Check runner's closing line; a runner that died counts as one failure.
count_check() { # label
	local log="$logs/$1.log" status line
	status=$(cat "$logs/$1.status")
	line=$(grep -aE '^[0-9]+%: Checks: ' "$log" | tail -n 1)
	if [ -z "$line" ]; then
		note_failure "$1 (status $status)"
		tail -n 25 "$log"
		return
	fi
	local total bad
	total=$(echo "$line" | sed 's/.*Checks: \([0-9]*\).*/\1/')
	bad=$(echo "$line" | sed 's/.*Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 + \2/')
	bad=$((bad))
	passed=$((passed + total - bad))
	failed=$((failed + bad))
	if [ "$bad" != 0 ]; then
		grep -aE ':[0-9]+:[FE]:' "$log" | head -n 20
	elif [ "$status" != 0 ]; then
		note_failure "$1 (status $status after its tests)"
		tail -n 25 "$log"
	fi
}

# Counts "ok NAME" and "not ok NAME" lines of a script.
run_lines() { # label, seconds, command...
	local label=$1 limit=$2
	shift 2
	local log="$logs/$label.log"
	timeout -k 5 "$limit" "$@" >"$log" 2>&1
	local status=$?
	local good bad
	good=$(grep -acE '^ok ' "$log")
	bad=$(grep -acE '^not ok ' "$log")
	passed=$((passed + good))
	failed=$((failed + bad))
	if [ "$status" != 0 ] || [ $((good + bad)) = 0 ]; then
		[ "$bad" != 0 ] || note_failure "$label (status $status)"
		grep -aE '^not ok ' "$log" | sed "s/^/$label: /"
		tail -n 25 "$log"
	fi
	echo "$label: $good ok, $bad not ok"
}

build() { # flavour, targets...
	local flavour=$1
	shift
	if ! make -s -j"$jobs" FLAVOR="$flavour" WERROR=1 "$@" >"$logs/build-$flavour.log" 2>&1; then
		tail -n 40 "$logs/build-$flavour.log"
		note_failure "build-$flavour"
		return 1
	fi
}

sanitize() { # flavour
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1
	export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
	export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:suppressions=$PWD/test/tsan.supp"
	export LSAN_OPTIONS="suppressions=$PWD/test/lsan.supp:print_suppressions=0"
}

run_units() { # flavour, how many at a time; their names on standard input
	xargs -P "$2" -I{} sh -c \
		'timeout 280 "build/$1/test/$2" >"$3/$1-$2.log" 2>&1; echo $? >"$3/$1-$2.status"' \
		_ "$1" {} "$logs"
}

unit() { # flavour
	say "unit and protocol tests ($1)"
	sanitize
	build "$1" unit-bins || return
	local names
	names=$(find "build/$1/test" -name 'test_*' ! -name '*.d' ! -name test_store_model -printf '%f\n' | sort)
	# As many runners beside each other as there are cores, the long ones first; beside
	# them, one after the other, those that mostly wait.
	local waits='_(core|amqp_limits|kafka_front)$' long='_(volume|damage|wire|store)$'
	echo "$names" | grep -E "$waits" | run_units "$1" 1 &
	local beside=$!
	{
		echo "$names" | grep -E "$long"
		echo "$names" | grep -vE "$long|$waits"
	} | run_units "$1" "$jobs"
	wait "$beside"
	for t in $names; do
		count_check "$1-$t"
	done
}

# Capacity in virtual time, and the store beside a model while it is killed over and over.
sim() { # [long]
	say "simulation"
	sanitize
	build release build/release/test/test_throttle_properties || return
	build asan build/asan/test/test_store_model || return
	local shifts=0
	if [ "${1:-}" = long ]; then
		shifts=$(seq 0 10 300)
		export MODEL_SECONDS=1200
	fi
	timeout $((${MODEL_SECONDS:-60} + 220)) build/asan/test/test_store_model >"$logs/sim-store_model.log" 2>&1 &
	local model=$!
	local shift
	for shift in $shifts; do
		SIM_SHIFT=$shift timeout 200 build/release/test/test_throttle_properties \
			>"$logs/sim-throttle-$shift.log" 2>&1
		echo $? >"$logs/sim-throttle-$shift.status"
		count_check "sim-throttle-$shift"
	done
	wait "$model"
	echo $? >"$logs/sim-store_model.status"
	count_check sim-store_model
}

fuzz() {
	say "fuzz corpora replayed (asan)"
	sanitize
	build asan fuzz-bins || return
	for f in build/asan/fuzz/fuzz_*; do
		local name
		name=$(basename "$f")
		if timeout 60 "$f" "test/fuzz/corpus/$name" >"$logs/$name.log" 2>&1; then
			passed=$((passed + 1))
		else
			note_failure "$name"
			tail -n 15 "$logs/$name.log"
		fi
	done
}

integration() { # flavour
	say "integration ($1)"
	sanitize
	build "$1" "build/$1/sluice" || return
	for s in test/integration/*.sh; do
		SLUICE_BIN="build/$1/sluice" run_lines "$1-$(basename "$s" .sh)" 150 bash "$s"
	done
}

interop() {
	say "interop: third-party clients"
	build release build/sluice || return
	timed 2 run_lines interop-http 120 bash test/interop/http.sh
	timed 4 run_lines interop-python 240 bash test/interop/python.sh
	if [ -f build/interop/js/.installed ]; then
		timed 5 run_lines interop-js 300 bash test/interop/js.sh
	else
		leave_out javascript "needs Node 20" "$(grep -c "^await test(" test/interop/js/*.mjs test/interop/throttle/sdk.mjs | awk -F: '{n+=$2} END {print n+0}')"
		leave_out kafkajs "needs Node 20" "$(grep -c "  await test(" test/interop/kafka/kafkajs.mjs)"
	fi
	timed 4 run_lines interop-kafka 300 bash test/interop/kafka.sh
	[ -f build/interop/kafka/.java ] ||
		leave_out kafka-java "needs JDK 17 and Maven Central" "$((2 * $(grep -c ' test("' test/interop/kafka/java/Client.java) + 1))"
	[ -f build/interop/kafka/.go ] ||
		leave_out kafka-go "needs Go 1.24 and the module proxy" "$(grep -c '		test("' test/interop/kafka/go/main.go)"
	timed 3 run_lines interop-retention 180 bash test/interop/retention.sh
	timed 2 run_lines interop-throttle 150 bash test/interop/throttle.sh
	timed 2 run_lines interop-offline 120 bash test/interop/offline.sh
}

fault() {
	say "faults"
	build release build/sluice || return
	local limit=300
	[ "${1:-}" = long ] && limit=3600
	for s in test/fault/*.sh; do
		timed $((limit / 60)) run_lines "fault-$(basename "$s" .sh)" $limit bash "$s" ${1:-}
	done
}

bench_smoke() {
	say "bench (smoke)"
	build release build/sluice bench-bins || return
	run_lines bench-smoke 120 bash test/bench/smoke.sh
}

lint() {
	say "lint"
	if test/lint.sh >"$logs/lint.log" 2>&1; then
		passed=$((passed + 1))
	else
		note_failure lint
		tail -n 20 "$logs/lint.log"
	fi
}

timed() { # budget in minutes, function...
	local budget=$1 start=$SECONDS
	shift
	"$@"
	echo "time: $* took $((SECONDS - start)) s (budget $((budget * 60)) s)"
}

case $layer in
all)
	timed 1 lint
	timed 2 build release build/sluice
	timed 2 build asan unit-bins
	timed 5 unit asan
	timed 1 fuzz
	timed 2 build tsan unit-bins
	timed 6 unit tsan
	timed 4 sim
	timed 3 integration asan
	timed 3 integration tsan
	timed 8 interop
	timed 6 fault
	timed 1 bench_smoke
	;;
unit)
	unit asan
	unit tsan
	;;
unit-asan) unit asan ;;
unit-tsan) unit tsan ;;
integration)
	integration asan
	integration tsan
	;;
interop | fuzz | lint | fault | sim) $layer ;;
bench-smoke) bench_smoke ;;
soak) fault long ;;
sim-long) sim long ;;
*)
	echo "unknown layer: $layer" >&2
	exit 2
	;;
esac

echo
[ "$left_out" = 0 ] || echo "left out here:$left_out_names"
if [ "$left_out" = 0 ]; then
	echo "$passed passed, $failed failed"
else
	echo "$passed passed, $failed failed, $left_out skipped"
fi
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]

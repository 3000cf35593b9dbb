#!/bin/bash
# run.sh - builds every variant and runs every test.  Says with --help what it takes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$here/support/lib.sh"

jobs=${JOBS:-$(nproc)}
only=()
long=no
bench=no
coverage=no
fuzz=0 # seconds for each fuzzer
declare -A broken # variants that did not build

usage() {
    cat <<END
usage: tests/run.sh [--long] [--bench] [--fuzz SECONDS] [--coverage] [--only REGEX]

Installs the packages of conf/packages, builds with sanitizers, and runs
  flow, e2e        with address+undefined
  unit, contract   with address+undefined, and with thread sanitizer
  sim, crash       with address+undefined, a part of the seeds and crash points
                   and all of them in the release build (label release)
  scripts          shellcheck reads all of them
The flows mostly wait, so what computes runs beside them, at a lower priority.

  --long         long campaigns too (label long), with address+undefined
  --fuzz SECONDS runs each fuzzer for so long (tests/fuzz/run.sh; clang)
  --coverage     unit, contract and crash tests once more, and prints which lines ran
  --bench        measures and prints (tests/bench), in the release build, beside the servers of the
                 group bench of conf/packages, which is installed then
  --only REGEX   only the tests whose names match; passed to ctest

JOBS=N builds and tests so many at once (default: the processors).  Logs lie in build/logs.
A test that is skipped counts as failed: every peer it needs is in conf/packages, or fetched.  Only where no
mongod can be had, which then is said, sets and shards of several are left out; one server shows the rest.
END
}

# row NAME COMMAND...: runs a step and writes its row of the closing table, "name|result|seconds|tests".
row() {
    local name=$1 began=$SECONDS result=ok
    shift
    tests=
    step "$name"
    "$@" || result=FAILED
    say "  $result, $((SECONDS - began)) s"
    echo "$name|$result|$((SECONDS - began))|$tests" >>"$logs/rows"
}

all_good() { ! grep -q '|FAILED|' "$logs/rows"; }

# ---- steps ----

# In a subshell, as it ends with words of its own when it fails.
install_all() {
    local groups=(build run peers test)
    [ "$bench" = no ] || groups+=(bench)
    [ "$fuzz" = 0 ] || groups+=(fuzz)
    (install_packages "${groups[@]}")
}

# What npm brings comes by its lock file, and runs nothing while it is installed.
install_modules() {
    local folder
    for folder in "$SOURCE/tests/e2e" "$SOURCE/tests/support/peers"; do
        if [ "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]; then
            say "  what ${folder#"$SOURCE/"} wants is there"
        else
            quietly "$logs/npm.log" npm ci --prefix "$folder" --no-audit --no-fund --ignore-scripts ||
                return 1
        fi
    done
}

# Several servers that are one can only be real ones (label mongod).  Whatever one server can show is shown
# without.
have_mongod() {
    "$here/support/mongodb.sh" words mongod >/dev/null 2>"$logs/mongod.log" && return
    say "  none can be had here ($logs/mongod.log): replica sets and shards are not tried"
    left_out='|mongod'
}

# build_variant VARIANT [TARGET...]
build_variant() {
    local variant=$1
    shift
    broken[$variant]=yes
    quietly "$logs/build-$variant.log" cmake -S "$SOURCE" -B "$SOURCE/build/$variant" -G Ninja \
        -C "$SOURCE/.ci/$variant.cmake" || return 1
    quietly "$logs/build-$variant.log" cmake --build "$SOURCE/build/$variant" -j "$jobs" \
        ${1:+--target "$@"} || return 1
    unset "broken[$variant]"
}

# The thread sanitizer of gcc 12 does not cope with all layouts of memory that newer kernels choose.
without_tsan_trouble() {
    if setarch "$(uname -m)" --addr-no-randomize true 2>/dev/null; then
        setarch "$(uname -m)" --addr-no-randomize "$@"
    else
        "$@"
    fi
}

# attribute NAME FILE: of the first line of ctest's report.
attribute() { grep -o -m 1 "$1=\"[0-9]*\"" "$2" | head -n 1 | tr -dc 0-9; }

# run_tests VARIANT NAME JOBS CTEST-ARGUMENTS...
run_tests() {
    local variant=$1 name=$1-$2 at_once=$3 report=$logs/$1-$2.xml status=0
    shift 3
    if [ -n "${broken[$variant]:-}" ]; then
        say "  not run: the build failed"
        return 1
    fi
    rm -f "$report"
    quietly "$logs/$name.log" without_tsan_trouble ctest --test-dir "$SOURCE/build/$variant" \
        -j "$at_once" --output-on-failure --output-junit "$report" "${only[@]}" "$@" || status=$?
    [ -f "$report" ] || return 1
    tests=$(attribute tests "$report")
    if [ "$(attribute skipped "$report")" != 0 ]; then
        say "  skipped, which counts as failed:"
        grep -E '\*\*\*Skipped' "$logs/$name.log" | sed 's/^/  /'
        status=1
    fi
    closing_lines "$logs/$name.log"
    [ "$status" = 0 ] || what_failed_said "$logs/$name.log" >>"$logs/failed"
    return "$status"
}

# The output of each test that failed, its end; ctest puts it behind the line that says so.
what_failed_said() {
    awk -v most=40 '
        function told(  i) {
            for (i = n > most ? n - most : 0; i < n; i++) print "  | " lines[i]
            n = 0
        }
        /^ *[0-9]+\/[0-9]+ Test +#/ || /^ +Start +[0-9]+:/ || /tests passed, / { told(); failed = 0 }
        failed && NF { lines[n++] = substr($0, 1, 300) }
        /^ *[0-9]+\/[0-9]+ Test +#.*\*\*\*/ { failed = 1; print "\n" $0 }
    ' "$1"
}

# What ctest says at the end, without the times of each label.
closing_lines() {
    sed -n '/tests passed\|The following tests FAILED/,$p' "$1" |
        sed '/^Label Time Summary/,/^$/d; /^$/d; /^Errors while/d; s/^/  /'
}

# Its figures go to the terminal as they come.
measure() {
    build_variant release || return 1
    cmake --build "$SOURCE/build/release" --target bench
}

# What each test has run is added up in the build folder.  Which functions a program has is not asked
# there: without optimisation they are others.
run_coverage() {
    build_variant coverage || return 1
    find "$SOURCE/build/coverage" -name '*.gcda' -delete
    run_tests coverage unit "$jobs" -L '^(unit|contract|crash)$' -LE '^long$' \
        -E '^unit/boundaries$' || return 1
    "$here/support/coverage.py" "$SOURCE/build/coverage"
}

read_scripts() {
    local scripts
    mapfile -t scripts < <(grep -rlE '^#!/bin/(ba)?sh' "$SOURCE"/{conf,tests,.ci} \
        --exclude-dir=node_modules)
    tests=${#scripts[@]}
    (cd "$SOURCE" && shellcheck -x --severity=warning "${scripts[@]}" tests/support/lib.sh)
}

closing_table() {
    local name result seconds count
    printf '\n%-34s %-7s %8s %6s\n' step result seconds tests
    while IFS='|' read -r name result seconds count; do
        printf '%-34s %-7s %8s %6s\n' "$name" "$result" "$seconds" "$count"
    done <"$logs/rows"
    printf '%-34s %-7s %8s\n' "all of it" "$(all_good && echo ok || echo FAILED)" "$SECONDS"
}

# ---- two lanes ----

# What computes: the other variants, and the tests that keep the processors busy.
computing() {
    renice -n 5 $BASHPID >/dev/null
    row "build tsan" build_variant tsan
    # What is shipped, and the tests that run without sanitizers.
    row "build release" build_variant release broker/all workers/all notify/all sim test_queue_crash
    row "asan: unit, contract" run_tests asan unit $((jobs * 2)) -L '^(unit|contract)$' -LE '^long$' "$none"
    row "tsan: unit, contract" run_tests tsan unit $((jobs * 2)) -L '^(unit|contract)$' \
        -LE '^(long|one-thread)$' "$none"
    row "asan: sim, crash" run_tests asan sim "$jobs" -L '^(sim|crash)$' -LE '^long$' "$none"
    row "release: sim, crash" run_tests release sim 1 -L '^release$' -LE '^long$' --no-tests=ignore
}

# What waits for other processes, several at once (PROCESSORS in tests/*.cmake says which of them are
# heavy).
waiting() {
    row "asan: flow, e2e" run_tests asan flow $((jobs * 2)) -L '^(flow|e2e)$' -LE "^(long|release$left_out)\$" \
        "$none"
}

# The computing ones print into a file, which follows when both have ended; a group of processes of its
# own ends with this script.
both_lanes() {
    local beside
    set -m
    computing >"$logs/beside.log" 2>&1 </dev/null &
    beside=$!
    set +m
    # shellcheck disable=SC2064 # the group of now
    trap "kill -- -$beside 2>/dev/null || true" EXIT
    say "The other builds and tests run beside the flows and print into $logs/beside.log."
    waiting
    quietly "$logs/beside-wait.log" tail --pid="$beside" -n 1 -f "$logs/beside.log"
    wait "$beside" || true
    trap - EXIT
    cat "$logs/beside.log"
}

main() {
    while [ $# -gt 0 ]; do
        case "$1" in
        --long) long=yes ;;
        --bench) bench=yes ;;
        --fuzz) fuzz=${2:?--fuzz SECONDS} && shift ;;
        --coverage) coverage=yes ;;
        --only) only=(-R "${2:?--only REGEX}") && shift ;;
        --help) usage && return ;;
        *) usage >&2 && exit 2 ;;
        esac
        shift
    done
    logs=$SOURCE/build/logs
    mkdir -p "$logs"
    export ASAN_OPTIONS=detect_stack_use_after_return=1:check_initialization_order=1:strict_string_checks=1
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    export TSAN_OPTIONS=suppressions=$SOURCE/tests/support/tsan.supp:halt_on_error=1:second_deadlock_stack=1
    # A run without any test is a mistake, unless few were asked for.
    none=--no-tests=error
    [ ${#only[@]} = 0 ] || none=--no-tests=ignore

    rm -f "$logs/rows" "$logs/failed"
    row "packages" install_all
    all_good || { closing_table && exit 1; }
    row "modules of npm" install_modules
    row "scripts" read_scripts
    row "build asan" build_variant asan
    left_out=
    row "a mongod" have_mongod
    both_lanes
    if [ "$long" = yes ]; then
        row "asan: long" run_tests asan long 1 -L '^long$' "$none"
    fi
    if [ "$fuzz" != 0 ]; then
        row "fuzz: each for $fuzz s" "$here/fuzz/run.sh" "$fuzz"
    fi
    if [ "$coverage" = yes ]; then
        row "coverage: unit, contract, crash" run_coverage
    fi
    if [ "$bench" = yes ]; then
        row "release: bench" measure
    fi
    [ ! -s "$logs/failed" ] || cat "$logs/failed"
    closing_table
    all_good
}

main "$@"

#!/bin/bash
# run.sh SECONDS [NAME...]   builds the fuzzers (clang, libFuzzer) and runs each, or those named, for so
#                            long; one that finds something ends with 1 and says where the input lies
# run.sh --keep NAME...      puts what reaches lines that corpus/NAME does not into it, as little as will do
#
# What they found before lies in build/fuzz/found/NAME, and is where they begin, with corpus/NAME.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$here/../support/lib.sh"

build=$SOURCE/build/fuzz
found=$build/found
most=16 # inputs kept of what a fuzzer has found
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

build_fuzzers() {
    mkdir -p "$found"
    quietly "$found/build.log" cmake -S "$SOURCE" -B "$build" -G Ninja -C "$SOURCE/.ci/fuzz.cmake" &&
        quietly "$found/build.log" cmake --build "$build" --target fuzzers -j "${JOBS:-$(nproc)}" ||
        fail "the fuzzers could not be built" "All of it: $found/build.log"
}

all_names() { find "$here" -name 'fuzz_*.c' -printf '%f\n' | sed 's/^fuzz_\(.*\)\.c$/\1/' | sort; }

# A file that ends the process in the middle leaves what it held, as any process that ends.
with_leaks() { [ "$1" = queue_file ] && echo 0 || echo 1; }

fuzzer() {
    local name=$1
    shift
    ASAN_OPTIONS=detect_leaks=$(with_leaks "$name") "$build/tests/fuzz_$name" "$@"
}

run_one() {
    local name=$1 seconds=$2 log=$found/$1.log status=0 runs
    mkdir -p "$found/$name"
    fuzzer "$name" -max_total_time="$seconds" -timeout=25 -print_final_stats=1 \
        -artifact_prefix="$found/$name-" "$found/$name" "$here/corpus/$name" >"$log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    printf '%-12s %10s executions, %5s edges%s\n' "$name" "${runs:-?}" \
        "$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | tr -dc 0-9)" "$([ "$status" = 0 ] || echo '  FAILED')"
    [ "$status" = 0 ] || grep -aE '^SUMMARY|Test unit written' "$log" | sed 's/^/  | /'
    return "$status"
}

keep() {
    local name=$1 new=$found/$1.kept
    rm -rf "$new"
    mkdir -p "$new" "$found/$name"
    # What has a name was written by hand, or found something once.
    find "$here/corpus/$name" -regextype posix-extended -type f -not -regex '.*/[0-9a-f]{40}' -exec cp -t "$new" {} +
    fuzzer "$name" -set_cover_merge=1 -use_counters=0 "$new" "$here/corpus/$name" "$found/$name" >"$found/$name.log" 2>&1 ||
        fail "$name: what was found could not be merged" "All of it: $found/$name.log"
    # At most so many: the longest reach most.
    find "$new" -regextype posix-extended -type f -regex '.*/[0-9a-f]{40}' -printf '%s %p\n' | sort -rn | tail -n +"$((most + 1))" |
        cut -d ' ' -f 2 | xargs -r rm
    rm -rf "${here:?}/corpus/$name"
    mv "$new" "$here/corpus/$name"
    say "$name: $(find "$here/corpus/$name" -type f | wc -l) files, $(du -sb "$here/corpus/$name" | cut -f 1) bytes"
}

case "${1:-}" in
--keep)
    shift
    build_fuzzers
    for name in "$@"; do keep "$name"; done
    ;;
[0-9]*)
    seconds=$1 status=0
    shift
    names=("$@")
    [ $# -gt 0 ] || mapfile -t names < <(all_names)
    build_fuzzers
    for name in "${names[@]}"; do run_one "$name" "$seconds" || status=1; done
    exit "$status"
    ;;
*) sed -n '2,6s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac

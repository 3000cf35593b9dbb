#!/bin/bash
# dengwen-due and dengwen-route as people and scripts call them: test_due_tool.sh DUE ROUTE DATA
due=$1 route=$2 data=$3
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
unset DENGWEN_CONFIG LC_ALL LC_MESSAGES
export LANG=C
failed=0

# expect CODE TEXT COMMAND...: the exit code, and a text in what is printed ("" for none)
expect() {
    local code=$1 text=$2 out got
    shift 2
    out=$("$@" 2>&1)
    got=$?
    if [ "$got" -ne "$code" ] || { [ -n "$text" ] && [[ $out != *"$text"* ]]; }; then
        printf 'expected %s and "%s" from: %s\ngot %s:\n%s\n' "$code" "$text" "$*" "$got" "$out"
        failed=1
    fi
}

# The value at a path of JSON on standard input, by the one interpreter every test machine has.
value() {
    python3 -c 'import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1].split("."):
    value = value[int(key) if key.isdigit() else key]
print(json.dumps(value) if not isinstance(value, str) else value)' "$1"
}
expect_value() {
    local path=$1 wanted=$2 got
    shift 2
    got=$("$@" | value "$path")
    if [ "$got" != "$wanted" ]; then
        printf 'expected %s = %s from: %s\ngot %s\n' "$path" "$wanted" "$*" "$got"
        failed=1
    fi
}

expect 0 "2026-10-23" "$due" D08 2026-09-28
expect 0 "National Day" "$due" D08 2026-09-28
expect 0 "国庆节" env LANG=zh_CN.UTF-8 "$due" D08 2026-09-28
expect 0 "国庆节" env LC_ALL=zh_CN.UTF-8 LANG=en_US.UTF-8 "$due" D08 2026-09-28
expect 0 "National Day" env LC_ALL=C LANG=zh_CN.UTF-8 "$due" D08 2026-09-28
expect 0 "Estimate" "$due" D08 2026-11-20 --extended
expect 1 "no rule D08 is in force" "$due" D08 2020-01-01
expect 0 "2020-02-04" "$due" D08 2020-01-14 --on 2026-01-01
expect 1 "no rule D99" "$due" D99 2026-01-01
expect 1 "has no extension" "$due" D09 2026-01-01 --extended
expect 2 "expected a date" "$due" D08 2026-02-30
expect 2 "expected a date" "$due" D08 2026-02-01 --on tomorrow
expect 2 "expected RULE and START" "$due" D08
expect 2 "text or json" "$due" D08 2026-02-01 --format xml
expect 0 "RULE START" "$due" --help
expect 0 "dengwen " "$due" --version

json=("$due" --format json D08 2026-09-28)
expect_value due 2026-10-23 "${json[@]}"
expect_value rule D08 "${json[@]}"
expect_value pack MED-2022 "${json[@]}"
expect_value verified secondary "${json[@]}"
expect_value estimate false "${json[@]}"
expect_value steps.1.from 2026-10-01 "${json[@]}"
expect_value steps.1.to 2026-10-07 "${json[@]}"
expect_value steps.1.counted 0 "${json[@]}"
expect_value steps.1.why "National Day" "${json[@]}"

report=("$route" --kind report --district 500108 --against hospital --act PU01)
expect 0 "500108 Nan'an District Medical Insurance Bureau" "${report[@]}"
expect 0 "重庆市南岸区医疗保障局" env LANG=zh_CN.UTF-8 "${report[@]}"
expect 0 "500000 Chongqing" "${report[@]}" --exclude 500108
expect 1 "must be addressed directly" "${report[@]}" --exclude 500108 --exclude 500000
expect 2 "PU99 is not in the catalogue" "${report[@]}" --act PU99
expect 2 "500199 is not in the catalogue" "${report[@]}" --district 500199
expect 2 "is not a body" "${report[@]}" --exclude nobody
expect 2 "a report has --act" "${report[@]}" --complaint CS1
expect 2 "a report has --act" "$route" --kind complaint --district 500108 --against agency
expect 2 "expected --kind" "$route" --act PU01
expect 2 "unexpected argument" "${report[@]}" more
expect 0 "--exclude" "$route" --help
expect_value body.id 500108 "${report[@]}" --format json
expect_value receiver.id 500108 "${report[@]}" --format json
expect_value rule R04 "${report[@]}" --format json
complaint=("$route" --kind complaint --district 500108 --against hospital --complaint CS6)
expect_value body.id 500000-health "${complaint[@]}" --format json
expect_value receiver.id 500108 "${complaint[@]}" --format json

# Data of one's own, named by a settings file; damaged data; settings that cannot be read.
# -L: where the data folder is a link, a copy of the link would let the damage reach the source tree.
mkdir "$work/data" && cp -rL "$data/." "$work/data" && [ ! -L "$work/data" ] || exit 1
printf 'data: data\n' >"$work/dengwen.yaml"
expect 0 "2026-10-23" "$due" -c "$work/dengwen.yaml" D08 2026-09-28
sed -i 's/length: 15/length: 16/' "$work/data/rules/MED-2022.yaml"
expect 0 "2026-10-26" "$due" -c "$work/dengwen.yaml" D08 2026-09-28
expect 0 "2026-10-26" env DENGWEN_CONFIG="$work/dengwen.yaml" "$due" D08 2026-09-28
sed -i 's/length: 16/lengthy: 16/' "$work/data/rules/MED-2022.yaml"
expect 65 "data/rules/MED-2022.yaml:" "$due" -c "$work/dengwen.yaml" D08 2026-09-28
expect 65 "lengthy: is not a known key" "$due" -c "$work/dengwen.yaml" D08 2026-09-28
rm "$work/data/bodies.yaml"
expect 65 "bodies.yaml: cannot be read" "${report[@]}" -c "$work/dengwen.yaml"
expect 78 "" "$due" -c "$work/missing.yaml" D08 2026-09-28
expect 78 "" env DENGWEN_CONFIG="$work/missing.yaml" "${report[@]}"

exit $failed

#!/bin/bash
# The units as systemd itself reads them: every key known, every program there, every user made, and
# little left that a broken-in process could reach.
#
#   systemd.sh UNITS LIBEXEC DENGWEN    folder of the units, of the programs, and the front command
set -u
units=$1 libexec=$2 dengwen=$3
source=$(cd "$(dirname "$0")/../.." && pwd)
worst=20 # exposure of 2.0; systemd calls what is below "OK"

command -v systemd-analyze >/dev/null || { echo "no systemd-analyze here"; exit 77; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failed=0
fail() { echo "FAILED: $*"; failed=1; }

programs=$("$dengwen" --help | sed -n '/^ programs started by run/,/^$/s/^  \([a-z]*\) .*/\1/p')
[ "$(wc -w <<<"$programs")" = 7 ] || fail "expected seven programs in dengwen --help: $programs"

mkdir -p "$root"/{etc,bin} "$root/etc/systemd/system" "$root/$libexec"
cp "$units"/dengwen* "$root/etc/systemd/system/"
for program in run $programs; do
    install -m 755 /dev/null "$root/$libexec/dengwen-$program"
done
for command in kill rm sh; do install -m 755 /dev/null "$root/bin/$command"; done
# What ours refer to: sysinit.target and its like.
for folder in /usr/lib/systemd/system /lib/systemd/system; do
    [ -d "$folder" ] && mkdir -p "$root$folder" && cp "$folder"/*.target "$folder"/*.slice "$root$folder/"
done

for unit in dengwen.service dengwen.target $(printf 'dengwen-%s.service ' $programs); do
    [ -f "$root/etc/systemd/system/$unit" ] || { fail "no $unit"; continue; }
    said=$(systemd-analyze verify --man=no --root="$root" "$unit" 2>&1) || fail "$unit: $said"
    [ -z "$said" ] || fail "$unit: $said" # an unknown key is only a warning
    [ "$unit" = dengwen.target ] && continue
    said=$(systemd-analyze security --offline=yes --threshold=$worst "$units/$unit" 2>&1) ||
        fail "$unit: $(tail -1 <<<"$said")"
    tail -1 <<<"$said"
    grep -qx "ExecStart=$libexec/dengwen-.*" "$units/$unit" || fail "$unit: starts something else"
done
for program in $programs; do
    grep -qx "Wants=dengwen-$program.service" "$units/dengwen.target" ||
        fail "dengwen.target does not want dengwen-$program"
done

if command -v systemd-sysusers >/dev/null && [ "$(id -u)" = 0 ]; then
    systemd-sysusers --root="$root" - <"$source/conf/systemd/sysusers.conf" >/dev/null 2>&1 ||
        fail "systemd-sysusers refuses sysusers.conf"
    for user in $(sed -n 's/^User=//p' "$units"/*.service | sort -u); do
        group=$(awk -F: -v u="$user" '$1 == u { print $4 }' "$root/etc/passwd")
        [ -n "$group" ] || fail "nobody makes the user $user"
        grep -q "^dengwen:x:$group:" "$root/etc/group" || fail "$user is not in the group dengwen"
    done
    said=$(systemd-tmpfiles --root="$root" --create - <"$source/conf/systemd/tmpfiles.conf" 2>&1) ||
        fail "systemd-tmpfiles: $said"
    [ "$(stat -c %a "$root/run/dengwen")" = 1770 ] || fail "/run/dengwen has another mode"
fi
exit $failed

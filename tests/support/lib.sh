# shellcheck shell=bash
# lib.sh - what the scripts share: words, packages, ports, waiting, processes in the background.
#
# To be sourced by bash with `set -euo pipefail`.  It changes nothing by itself.

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# ---- words ----

say() { printf '%s\n' "$*"; }

# A step begins; steps say how long they took when they use `took`.
step() { printf '\n== %s\n' "$*"; }

# fail WHAT [DO...]: what went wrong, then what to do, one line each.
fail() {
    printf '\nFAILED: %s\n' "$1" >&2
    shift
    local line
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

# quietly LOG COMMAND...: runs it with its output in LOG.  The last line is shown meanwhile: on a
# terminal at once, elsewhere every 20 seconds.  On failure the end of LOG is shown.
quietly() {
    local log=$1 began=$SECONDS shown=$SECONDS status=0 pid
    shift
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        if [ -t 1 ]; then
            printf '\r\033[K  %3d s  %.66s' $((SECONDS - began)) "$(last_line "$log")"
        elif [ $((SECONDS - shown)) -ge 20 ]; then
            printf '  %3d s  %.100s\n' $((SECONDS - began)) "$(last_line "$log")"
            shown=$SECONDS
        fi
        sleep 0.2
    done
    wait "$pid" || status=$?
    [ ! -t 1 ] || printf '\r\033[K'
    if [ "$status" != 0 ]; then
        say "  $1 ended with $status after $((SECONDS - began)) s; the end of $log:"
        tail -n 30 "$log" | sed 's/^/  | /'
    fi
    return "$status"
}

last_line() { tail -n 1 "$1" 2>/dev/null | tr -d '\r\033' | tr '\t' ' ' || true; }

# ---- packages ----

# packages GROUP...: names, from conf/packages.
packages() {
    awk -v groups=" $* " '
        /^\[/ { group = substr($1, 2, length($1) - 2); known[group] = 1; next }
        /^[a-z0-9]/ && index(groups, " " group " ") { print $1 }
        END {
            count = split(groups, names, " ")
            for (i = 1; i <= count; i++)
                if (!(names[i] in known)) {
                    print "conf/packages has no group " names[i] > "/dev/stderr"
                    exit 2
                }
        }' "$SOURCE/conf/packages"
}

# What is installed, under every name it goes by: NodeSource's nodejs, for one, is npm too.
installed_packages() {
    dpkg-query -W -f='${db:Status-Status} ${Package}, ${Provides}\n' | sed -n 's/^installed //p' |
        tr ',' '\n' | awk 'NF { print $1 }' | sort -u
}

missing_packages() {
    local wanted
    wanted=$(packages "$@")
    comm -23 <(sort -u <<<"$wanted") <(installed_packages)
}

have_packages() { [ -z "$(missing_packages "$@")" ]; }

# install_packages GROUP...: only what is missing, so that a second run does not touch apt.
install_packages() {
    local missing log as_root=()
    [ -r /etc/debian_version ] ||
        fail "this is not Debian: this script cannot install packages here" \
             "Install by hand what conf/packages lists (groups: $*), or use Debian 12."
    missing=$(missing_packages "$@") || fail "conf/packages cannot be read (groups: $*)"
    if [ -z "$missing" ]; then
        say "  nothing to install ($*)"
        return
    fi
    mapfile -t missing <<<"$missing"
    say "  to install: ${missing[*]}"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null ||
            fail "packages are missing, and only root can install them" \
                 "As root: apt-get install --no-install-recommends ${missing[*]}" \
                 "Then run this again."
        sudo -v || fail "sudo was refused" "Ask somebody who may install packages."
        as_root=(sudo)
    fi
    log=$(mktemp "${TMPDIR:-/tmp}/dengwen-apt-XXXXXX")
    quietly "$log" "${as_root[@]}" apt-get update ||
        fail "apt-get update did not work" "Is this machine on the network?  All of it: $log"
    quietly "$log" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y \
        --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" ||
        fail "apt-get install did not work" "Mend what it says (all of it: $log), and run this again."
    rm -f "$log"
}

# ---- ports and waiting ----

# Somebody answers there.  In bash alone: ss may not be installed yet.
port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port [FROM]: the first from there on where nobody listens.
free_port() {
    local port=${1:-$((20000 + RANDOM % 10000))}
    while port_answers "$port"; do port=$((port + 1)); done
    echo "$port"
}

# wait_until SECONDS COMMAND...: until it says yes; no when the time is over.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

wait_port() { wait_until "${2:-10}" port_answers "$1"; }

http_good() { curl -fsS -o /dev/null --max-time 5 "$1" 2>/dev/null; }

# wait_http URL [SECONDS]: until it answers 200.
wait_http() { wait_until "${2:-30}" http_good "$1"; }

# ---- processes in the background ----

# start_process FOLDER NAME COMMAND...: apart from this terminal; FOLDER/NAME.pid and .log.
start_process() {
    local folder=$1 name=$2
    shift 2
    setsid "$@" >>"$folder/$name.log" 2>&1 </dev/null &
    echo "$! $(process_birth $!)" >"$folder/$name.pid"
}

# When a process began, in ticks since the machine did: with its number, it is not to be mistaken.
process_birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

process_runs() {
    local pid birth
    read -r pid birth 2>/dev/null <"$1/$2.pid" || return 1
    [ -n "$birth" ] && [ "$(process_birth "$pid")" = "$birth" ] &&
        ! grep -q '^State:.*zombie' "/proc/$pid/status" 2>/dev/null
}

process_gone() { ! process_runs "$@"; }

# stop_process FOLDER NAME [SECONDS]: asks, then waits, then ends it.
stop_process() {
    local pid
    if process_runs "$1" "$2"; then
        read -r pid _ <"$1/$2.pid"
        kill "$pid" 2>/dev/null || true
        wait_until "${3:-20}" process_gone "$1" "$2" || kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -f "$1/$2.pid"
}

#!/bin/bash
# fresh.sh - the two commands of the README in a Debian 12 that has nothing installed.
#
# Says with --help what it does.  All of it happens in a namespace of its own: mounts and processes
# end with this script, however it ends.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$here/support/lib.sh"

cache=${XDG_CACHE_HOME:-/var/cache}/dengwen-fresh
tarball=$cache/bookworm.tar
times=()

usage() {
    cat <<END
usage: tests/fresh.sh [--quick | --container] [--keep] [RUN-OPTION...]

Makes a minimal Debian 12 with mmdebstrap (kept for a week in $cache),
copies this checkout into it, changes included, and runs there
  conf/quickstart.sh                 once, and a second time, which must take seconds
  conf/quickstart.sh --with-peers    with a mail server and an SMS gateway
  tests/run.sh RUN-OPTION...
Needs root, mmdebstrap and a network.

  --quick       without tests/run.sh
  --container   instead of all that: the steps of conf/Dockerfile, in a Debian for each of its stages,
                and docker-compose.yml, every program in namespaces of its own; one report goes all
                the way.  Installs the packages of the group test on this machine
  --keep        leaves the folder, to look around
END
}

# ---- outside ----

# Debian's own sources as this machine has them; anything else would not be a fresh Debian.
debian_sources() {
    local sources
    # shellcheck disable=SC2016 # apt fills these in
    sources=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $3 ~ /^bookworm(-updates|-security)?$/ { print "deb " $2 " " $3 " main" }' |
        sort -u)
    if ! grep -q ' bookworm main' <<<"$sources"; then
        sources="deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main"
    fi
    echo "$sources"
}

proxy_settings() { apt-config dump | grep -iE '^Acquire::(https?::)?.*Proxy' || true; }

make_debian() {
    if [ -n "$(find "$tarball" -mtime -7 2>/dev/null)" ]; then
        say "  from $tarball"
        return
    fi
    mkdir -p "$cache"
    proxy_settings >"$cache/proxy.conf"
    debian_sources >"$cache/sources.list"
    quietly "$cache/mmdebstrap.log" mmdebstrap --variant=minbase --format=tar \
        --aptopt="$cache/proxy.conf" bookworm "$tarball.new" "$cache/sources.list" ||
        fail "mmdebstrap did not work" "All of it: $cache/mmdebstrap.log"
    mv "$tarball.new" "$tarball"
    say "  made: $tarball, $(du -h "$tarball" | cut -f 1)"
}

# What git knows or would add, as it lies here; without git all but what is built.
copy_checkout() {
    local to=$1
    mkdir -p "$to"
    if git -C "$SOURCE" rev-parse --git-dir >/dev/null 2>&1; then
        git -C "$SOURCE" ls-files -z --cached --others --exclude-standard |
            (cd "$SOURCE" && while IFS= read -r -d '' file; do
                [ ! -e "$file" ] || printf '%s\0' "$file"
            done) | tar -C "$SOURCE" -c --null -T - -f - | tar -C "$to" -xf -
    else
        tar -C "$SOURCE" -c --exclude=./build --exclude=./demo --exclude=node_modules -f - . |
            tar -C "$to" -xf -
    fi
}

unpack() {
    tar -C "$root" -xf "$tarball"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    proxy_settings >"$root/etc/apt/apt.conf.d/80proxy"
    # Authorities that this machine trusts beside Debian's: a proxy may be one.  ca-certificates takes
    # them in when it is installed.
    mkdir -p "$root/usr/local/share/ca-certificates"
    find /usr/local/share/ca-certificates -name '*.crt' \
        -exec cp -t "$root/usr/local/share/ca-certificates" {} +
    # Packages must not start their services here.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    copy_checkout "$root/root/dengwen"
}

# ---- inside the namespace ----

mount_all() {
    mount --bind "$root" "$root" # a root that is a mount can have namespaces within
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
    mount -t tmpfs -o mode=755 run "$root/run"
}

# in_debian COMMAND...: with next to nothing in the environment.
in_debian() {
    local name pass=()
    for name in http_proxy https_proxy no_proxy JOBS CMAKE_BUILD_PARALLEL_LEVEL; do
        [ -z "${!name:-}" ] || pass+=("$name=${!name}")
    done
    # node has its own list of authorities, and adds these.
    env -i "${pass[@]}" NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt HOME=/root TERM="${TERM:-dumb}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        chroot "$root" bash -c 'cd /root/dengwen && exec "$@"' bash "$@"
}

# timed NAME COMMAND...
timed() {
    local name=$1 began=$SECONDS
    shift
    printf '\n######## %s\n' "$name"
    "$@" || fail "$name: ended with $?" "Look around: tests/fresh.sh --keep"
    took=$((SECONDS - began))
    times+=("$(printf '%6d s  %s' "$took" "$name")")
}

quickstart() {
    in_debian conf/quickstart.sh "$@" | tee "$root/quickstart.out"
    grep -qE '^  receipt +[0-9]{4}(-[0-9]{4}){5}' "$root/quickstart.out" ||
        fail "quickstart.sh shows no receipt"
    grep -qE '^  CQ[0-9]{2}-[0-9A-Z]{9} ' "$root/quickstart.out" ||
        fail "quickstart.sh shows no worklist"
}

with_peers() {
    quickstart --with-peers
    grep -q '^  SMS to .*回执' "$root/quickstart.out" || fail "quickstart.sh shows no SMS"
    grep -q '^  | Subject: .*登记' "$root/quickstart.out" || fail "quickstart.sh shows no e-mail"
}

inside() {
    root=$1 quick=$2
    shift 2
    mount_all
    timed "conf/quickstart.sh, the first time" quickstart
    timed "conf/quickstart.sh, again" quickstart
    [ "$took" -lt 15 ] || fail "the second run of quickstart.sh took $took s"
    timed "conf/quickstart.sh --with-peers" with_peers
    timed "conf/quickstart.sh --stop" in_debian conf/quickstart.sh --stop
    [ "$quick" = yes ] || timed "tests/run.sh $*" in_debian tests/run.sh "$@"
    printf '\n'
    printf '%s\n' "${times[@]}"
}

# ---- both ----

# Without a container engine, which no Debian in a namespace could run.
containers() {
    local server shell
    install_packages test
    server=$("$here/support/mongodb.sh" program)
    shell=$("$here/support/mongodb.sh" shell)
    copy_checkout "$root/checkout"
    DENGWEN_MONGODB=$server DENGWEN_MONGOSH=$shell \
        unshare --mount --pid --fork --kill-child --mount-proc \
        /usr/bin/python3 "$here/flow/containers.py" "$root" "$tarball" "$root/checkout"
}

main() {
    local quick=no keep=no container=no
    if [ "${1:-}" = --inside ]; then
        shift
        inside "$@"
        return
    fi
    while [ $# -gt 0 ]; do
        case "$1" in
        --quick) quick=yes ;;
        --container) container=yes ;;
        --keep) keep=yes ;;
        --help) usage && return ;;
        *) break ;;
        esac
        shift
    done
    [ "$(id -u)" = 0 ] || fail "only root can make a Debian in a folder" "Run it with sudo."
    command -v mmdebstrap >/dev/null || fail "mmdebstrap is not installed" "apt-get install mmdebstrap"
    step "A minimal Debian 12"
    make_debian
    root=$(mktemp -d "${TMPDIR:-/var/tmp}/dengwen-fresh-XXXXXX")
    if [ "$keep" = yes ]; then
        say "  stays in $root"
    else
        # Its mounts are gone by then: they belonged to the namespace.
        trap 'rm -rf --one-file-system "$root"' EXIT
    fi
    chmod 755 "$root"
    if [ "$container" = yes ]; then
        containers
        return
    fi
    unpack
    say "  unpacked, with this checkout in /root/dengwen"
    unshare --mount --pid --fork --kill-child "$here/fresh.sh" --inside "$root" "$quick" "$@"
}

main "$@"

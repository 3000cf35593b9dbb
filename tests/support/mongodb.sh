#!/bin/bash
# mongodb.sh start DIR [PORT [standalone] [auth] [tls]]   a server that speaks MongoDB's protocol on
#                               127.0.0.1:PORT (27117), a replica set of one unless told otherwise;
#                               prints which one it is.  auth: only for users it knows.  tls: with the
#                               certificate and key in DIR/tls.pem, of the authority in DIR/ca.crt
# mongodb.sh user DIR NAME DATABASE   makes a user who may read and write that one, before auth is
#                               asked; the password is read from standard input
# mongodb.sh uri DIR            where it is: mongodb://...
# mongodb.sh stop|kill DIR      the second with -9
# mongodb.sh run [failpoints] COMMAND...   with DENGWEN_TEST_MONGODB=mongodb://... while the command runs
# mongodb.sh program|shell      where secantusd-py or mongosh is, installed if it has to be
# mongodb.sh words mongod|mongos|mongo   how one of MongoDB's own programs is started, a word a line; fails where
#                               none can be had
#
# Which server: the URI in DENGWEN_TEST_MONGODB if there is one; else mongod, if it is on PATH; else the
# mongod that Ubuntu 20.04 has and Debian has not, unpacked beside its libraries into a folder that is kept;
# else SecantusDB (PyPI), an independent server of the same protocol, in a venv that is kept.  Where
# the test makes the server fail by command (failpoints), mongod must be of 4.0 or later.
# DENGWEN_TEST_SERVER=mongod|secantusdb is that one or nothing.  The shell is MongoDB's own: mongosh if it is
# on PATH, else from npm, and kept as well.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$here/lib.sh"

secantus=0.7.0b3
mongosh=2.12.0
mongod=3.6.8
kept=${XDG_CACHE_HOME:-$HOME/.cache}/dengwen
venv=$kept/secantusdb-$secantus
shell=$kept/mongosh-$mongosh
unpacked=$kept/mongod-$mongod

# ---- where they come from ----

# Packages of Ubuntu 20.04 (amd64), by their checksums.
ubuntu=http://archive.ubuntu.com/ubuntu/pool
packages_of_mongod() {
    cat <<END
d8e296fe30ba1a7466333bc11f7f7b69643195e0fffaad69d4dc0a7f84c9a512 universe/m/mongodb/mongodb-server-core_3.6.9+really3.6.8+90~g8e540c0b6d-0ubuntu5_amd64.deb
5d2d75531181e503edd85489da26db67c80ddcecfc51f214ab6783435118885e universe/m/mongodb/mongodb-clients_3.6.9+really3.6.8+90~g8e540c0b6d-0ubuntu5_amd64.deb
1c115d0cc2b03f8e95a366e22e784f7fddf19ea20192aad6d11d863dbbb6c40a main/b/boost1.71/libboost-iostreams1.71.0_1.71.0-6ubuntu6_amd64.deb
6793184cc2b8df0da401fdbe78fbf57ac598438177a6af163f99f9f1c14f9eb8 main/b/boost1.71/libboost-filesystem1.71.0_1.71.0-6ubuntu6_amd64.deb
389095c7167251ee73667031a4c0f45083a31347cc95faddbdf5b7d22ac4c774 main/b/boost1.71/libboost-program-options1.71.0_1.71.0-6ubuntu6_amd64.deb
be06998b03fac2ed2e5a74911ff9ea41b63630a94bfddac496f5422b3d51c12a main/g/google-perftools/libgoogle-perftools4_2.7-1ubuntu2_amd64.deb
fbb0cd8d46d794445d1c7aac9fe151ef814dc4f6e28f26157793999457425304 main/g/google-perftools/libtcmalloc-minimal4_2.7-1ubuntu2_amd64.deb
9ff8e9c464792f5da9ad6a7b9b51e2eab4c10a31efb93462d8752095db45ca93 main/libu/libunwind/libunwind8_1.2.1-9build1_amd64.deb
6245a4417a5de8e7c7ba2befa675bf1747c51cdd500803fd117e973c13b3a88f main/p/pcre3/libpcrecpp0v5_8.39-12build1_amd64.deb
2e94c88431a1cfdc9f5be37a9063c617c2e85be4eeee194b3956b7a1d35040cd main/p/pcre3/libpcre3_8.39-12build1_amd64.deb
45656990b8613e70263cd4bacc8dd2c081ca1913d86952e95c11ba70db36d0b2 main/s/snappy/libsnappy1v5_1.1.8-1build1_amd64.deb
09ee28588a1fb5613ddc6c26a992d5a76931b3cf22c022930da413a5e580599e main/o/openssl/libssl1.1_1.1.1f-1ubuntu2_amd64.deb
ca98a75e3eb1d446215bfa194148a7005453b9204dfb1ad625130ee4aecd5235 main/s/snowball/libstemmer0d_0+svn585-2_amd64.deb
fa32c293c9935750089d496d20da5edfa870fad741ab5822e43900ccb61483bb main/y/yaml-cpp/libyaml-cpp0.6_0.6.2-4ubuntu1_amd64.deb
END
}

# Tried once an hour where it cannot be had: tests start many servers.
unpack_mongod() {
    [ -x "$unpacked/usr/bin/mongod" ] && return
    [ "$(uname -m)" = x86_64 ] || return 1
    mkdir -p "$kept"
    (
        flock 9
        [ -x "$unpacked/usr/bin/mongod" ] && exit
        [ -z "$(find "$unpacked.absent" -mmin -60 2>/dev/null)" ] || exit 1
        rm -rf "$unpacked.new"
        mkdir -p "$unpacked.new"
        while read -r sum path; do
            curl -fsS --connect-timeout 10 --max-time 120 -o "$unpacked.new/deb" "$ubuntu/$path" &&
                echo "$sum  $unpacked.new/deb" | sha256sum --check --quiet - &&
                dpkg-deb --extract "$unpacked.new/deb" "$unpacked.new" || {
                touch "$unpacked.absent"
                exit 1
            }
        done < <(packages_of_mongod)
        rm "$unpacked.new/deb"
        mv "$unpacked.new" "$unpacked"
    ) 9>"$unpacked.lock" >&2
}

install_secantus() {
    [ -x "$venv/bin/secantusd-py" ] && return
    mkdir -p "$kept"
    (
        flock 9
        [ -x "$venv/bin/secantusd-py" ] && exit
        rm -rf "$venv.new"
        /usr/bin/python3 -m venv "$venv.new"
        "$venv.new/bin/pip" install -q --disable-pip-version-check "SecantusDB==$secantus"
        # The scripts name their interpreter: it must be where it will stay.
        sed -i "1s|$venv.new|$venv|" "$venv.new"/bin/*
        mv "$venv.new" "$venv"
    ) 9>"$(dirname "$venv").lock"
}

# Its optional parts belong to other systems and to encryption on the client.
install_mongosh() {
    [ -x "$shell/node_modules/.bin/mongosh" ] && return
    mkdir -p "$kept"
    (
        flock 9
        [ -x "$shell/node_modules/.bin/mongosh" ] && exit
        rm -rf "$shell.new"
        npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional --prefix "$shell.new" \
            "@mongosh/cli-repl@$mongosh"
        mv "$shell.new" "$shell"
    ) 9>"$shell.lock" >&2
}

find_shell() {
    if ! command -v mongosh; then
        install_mongosh
        echo "$shell/node_modules/.bin/mongosh"
    fi
}

# ---- which one ----

# The words that start one of MongoDB's own programs, a line each.
words() {
    if command -v mongod >/dev/null; then
        command -v "$1"
    elif unpack_mongod; then
        printf '%s\n' env LD_LIBRARY_PATH="$unpacked/usr/lib/x86_64-linux-gnu:$unpacked/lib/x86_64-linux-gnu" \
            "$unpacked/usr/bin/$1"
    else
        return 1
    fi
}

# Sets `server`: the words that start mongod, or nothing for SecantusDB.
choose_server() {
    local how=$1
    server=()
    [ "${DENGWEN_TEST_SERVER:-}" != secantusdb ] || { install_secantus && return; }
    mapfile -t server < <(words mongod)
    if [ ${#server[@]} != 0 ] && ! { [[ $how == *" failpoints "* ]] && [[ $(version) =~ v[0-3]\. ]]; }; then
        return
    fi
    [ "${DENGWEN_TEST_SERVER:-}" != mongod ] || fail "no mongod can be had that does this:$how"
    server=()
    install_secantus
}

# "db version v3.6.8"
version() { "${server[@]}" --version | head -n 1; }

# ---- starting ----

answers() { port_answers "$1"; }

start_mongod() {
    local dir=$1 port=$2 how=$3 options=()
    echo "mongod: $(version)"
    # Not compressed, so that a search of its files sees what is there.
    options+=(--wiredTigerCacheSizeGB 1 --wiredTigerCollectionBlockCompressor none
        --wiredTigerJournalCompressor none --wiredTigerIndexPrefixCompression false)
    [[ $how == *" standalone "* ]] || options+=(--replSet rs0 --oplogSize 64)
    if [[ $how == *" auth "* ]]; then
        (umask 077 && head -c 48 /dev/urandom | base64 -w 0 >"$dir/keyfile")
        options+=(--auth --keyFile "$dir/keyfile")
    fi
    if [[ $how == *" tls "* ]] && [[ $(version) =~ v([0-3]|4\.0)\. ]]; then
        options+=(--sslMode requireSSL --sslPEMKeyFile "$dir/tls.pem")
    elif [[ $how == *" tls "* ]]; then
        options+=(--tlsMode requireTLS --tlsCertificateKeyFile "$dir/tls.pem")
    fi
    start_process "$dir" mongodb "${server[@]}" --dbpath "$dir/data" --port "$port" --bind_ip 127.0.0.1 \
        --nounixsocket --setParameter enableTestCommands=1 "${options[@]}"
    wait_until 60 answers "$port"
    if ! [[ $how =~ standalone|auth|tls ]]; then
        [ -e "$dir/initiated" ] || "$here/mongo_tell.py" initiate "$port"
        touch "$dir/initiated"
        wait_until 30 "$here/mongo_tell.py" primary "$port"
    fi
}

start_secantus() {
    local dir=$1 port=$2 how=$3 options=()
    echo "SecantusDB $secantus"
    [[ $how != *" standalone "* ]] || options+=(--standalone)
    [[ $how != *" auth "* ]] || options+=(--auth)
    [[ $how != *" tls "* ]] || options+=(--tls-cert-file "$dir/tls.pem" --tls-key-file "$dir/tls.pem")
    start_process "$dir" mongodb "$venv/bin/secantusd-py" --host 127.0.0.1 --port "$port" \
        --storage-path "$dir/data" --sync-on-commit --enable-test-commands --log-level WARNING \
        "${options[@]}"
    wait_until 60 answers "$port"
}

start() {
    local dir=$1 port=${2:-27117} how=" ${*:3} "
    mkdir -p "$dir/data"
    echo "mongodb://127.0.0.1:$port/?directConnection=true" >"$dir/uri"
    echo "$port" >"$dir/port"
    [[ $how != *" tls "* ]] || sed -i "s|\$|\&tls=true\&tlsCAFile=$dir/ca.crt|" "$dir/uri"
    choose_server "$how"
    if [ ${#server[@]} != 0 ]; then
        start_mongod "$dir" "$port" "$how"
    else
        start_secantus "$dir" "$port" "$how"
    fi
}

run() {
    local dir port how='' status=0
    if [ "$1" = failpoints ]; then
        how=failpoints
        shift
    fi
    if [ -n "${DENGWEN_TEST_MONGODB:-}" ]; then
        "$@"
        return
    fi
    dir=$(mktemp -d /tmp/dw-mongodb-XXXXXX)
    port=$(free_port $((20000 + $$ % 12000))) # several may start at once
    # shellcheck disable=SC2064 # the folder of now
    trap "stop_process '$dir' mongodb 20; rm -rf '$dir'" EXIT
    start "$dir" "$port" ${how:+"$how"}
    DENGWEN_TEST_MONGODB=$(cat "$dir/uri") "$@" || status=$?
    return "$status"
}

case "${1:-} ${2:-}" in
"start "?*) start "${@:2}" ;;
"user "?*) "$here/mongo_tell.py" user "$(cat "$2/port")" "${3:?NAME}" "${4:?DATABASE}" ;;
"uri "?*) cat "$2/uri" ;;
"stop "?*) stop_process "$2" mongodb 20 ;;
"kill "?*) kill -KILL "$(cut -d " " -f 1 "$2/mongodb.pid")" ;;
"run "?*) shift && run "$@" ;;
"program ") install_secantus && echo "$venv/bin/secantusd-py" ;;
"shell ") find_shell ;;
"words "?*) words "$2" ;;
*) sed -n '2,21s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac

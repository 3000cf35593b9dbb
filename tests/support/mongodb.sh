#!/bin/bash
# mongodb.sh start DIR [PORT [standalone] [auth] [tls]]   a server that speaks MongoDB's protocol on
#                               127.0.0.1:PORT (27117), a replica set of one unless told otherwise;
#                               prints which one it is.  auth: only for users it knows.  tls: with the
#                               certificate and key in DIR/tls.pem, of the authority in DIR/ca.crt
# mongodb.sh user DIR NAME DATABASE   makes a user who may read and write that one, before auth is
#                               asked; the password is read from standard input
# mongodb.sh uri DIR            where it is: mongodb://...
# mongodb.sh stop|kill DIR      the second with -9
# mongodb.sh run COMMAND...     with DENGWEN_TEST_MONGODB=mongodb://... while the command runs
# mongodb.sh program|shell      where secantusd-py or mongosh is, installed if it has to be
#
# Which server: the URI in DENGWEN_TEST_MONGODB if there is one; else mongod, if it is on PATH; else
# SecantusDB (PyPI), an independent server of the same protocol, in a venv that is kept.  The shell is
# MongoDB's own: mongosh if it is on PATH, else from npm, and kept as well.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$here/lib.sh"

secantus=0.7.0b3
mongosh=2.12.0
kept=${XDG_CACHE_HOME:-$HOME/.cache}/dengwen
venv=$kept/secantusdb-$secantus
shell=$kept/mongosh-$mongosh

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

answers() { port_answers "$1"; }

start() {
    local dir=$1 port=${2:-27117} how=" ${*:3} " options=()
    mkdir -p "$dir/data"
    echo "mongodb://127.0.0.1:$port/?directConnection=true" >"$dir/uri"
    [[ $how != *" tls "* ]] || sed -i "s|\$|\&tls=true\&tlsCAFile=$dir/ca.crt|" "$dir/uri"
    if command -v mongod >/dev/null; then
        echo "mongod: $(mongod --version | head -n 1)"
        [[ $how == *" standalone "* ]] || options=(--replSet rs0)
        if [[ $how == *" auth "* ]]; then
            (umask 077 && head -c 48 /dev/urandom | base64 -w 0 >"$dir/keyfile")
            options+=(--auth --keyFile "$dir/keyfile")
        fi
        [[ $how != *" tls "* ]] || options+=(--tlsMode requireTLS --tlsCertificateKeyFile "$dir/tls.pem")
        start_process "$dir" mongodb mongod --dbpath "$dir/data" --port "$port" --bind_ip 127.0.0.1 \
            --setParameter enableTestCommands=1 "${options[@]}"
        wait_until 60 answers "$port"
        [[ $how =~ standalone|auth ]] || mongosh --quiet "$(cat "$dir/uri")" --eval \
            "try { rs.status() } catch (e) { rs.initiate({_id: 'rs0', members: [{_id: 0, host: '127.0.0.1:$port'}]}) }"
    else
        install_secantus
        echo "SecantusDB $secantus"
        [[ $how != *" standalone "* ]] || options+=(--standalone)
        [[ $how != *" auth "* ]] || options+=(--auth)
        [[ $how != *" tls "* ]] || options+=(--tls-cert-file "$dir/tls.pem" --tls-key-file "$dir/tls.pem")
        start_process "$dir" mongodb "$venv/bin/secantusd-py" --host 127.0.0.1 --port "$port" \
            --storage-path "$dir/data" --sync-on-commit --enable-test-commands --log-level WARNING \
            "${options[@]}"
        wait_until 60 answers "$port"
    fi
}

make_user() {
    local dir=$1 name=$2 database=$3 password
    read -r password
    if command -v mongod >/dev/null; then
        NAME=$name PASSWORD=$password DATABASE=$database mongosh --quiet "$(cat "$dir/uri")" --eval \
            "db.getSiblingDB('admin').createUser({user: process.env.NAME, pwd: process.env.PASSWORD,
                roles: [{role: 'readWrite', db: process.env.DATABASE}]})"
    else
        NAME=$name PASSWORD=$password DATABASE=$database "$venv/bin/python" -c "
import os, sys, pymongo
pymongo.MongoClient(sys.argv[1]).admin.command(
    'createUser', os.environ['NAME'], pwd=os.environ['PASSWORD'],
    roles=[{'role': 'readWrite', 'db': os.environ['DATABASE']}])" "$(cat "$dir/uri")"
    fi
}

run() {
    local dir port status=0
    if [ -n "${DENGWEN_TEST_MONGODB:-}" ]; then
        "$@"
        return
    fi
    dir=$(mktemp -d /tmp/dw-mongodb-XXXXXX)
    port=$(free_port $((20000 + $$ % 12000))) # several may start at once
    # shellcheck disable=SC2064 # the folder of now
    trap "stop_process '$dir' mongodb 20; rm -rf '$dir'" EXIT
    start "$dir" "$port"
    DENGWEN_TEST_MONGODB=$(cat "$dir/uri") "$@" || status=$?
    return "$status"
}

case "${1:-} ${2:-}" in
"start "?*) start "${@:2}" ;;
"user "?*) make_user "$2" "${3:?NAME}" "${4:?DATABASE}" ;;
"uri "?*) cat "$2/uri" ;;
"stop "?*) stop_process "$2" mongodb 20 ;;
"kill "?*) kill -KILL "$(cut -d " " -f 1 "$2/mongodb.pid")" ;;
"run "?*) shift && run "$@" ;;
"program ") install_secantus && echo "$venv/bin/secantusd-py" ;;
"shell ") find_shell ;;
*) sed -n '2,16s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac

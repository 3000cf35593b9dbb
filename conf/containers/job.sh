#!/bin/bash
# What containers do beside running one program (docker-compose.yml):
#
#   job init           keys, settings and passwords of a new installation; may run again
#   job case NAME      one more case worker, with an audit chain of its own
#   job COMMAND...     dengwen COMMAND, as the administrator
set -euo pipefail
umask 077

etc=/etc/dengwen
state=/var/lib/dengwen
secrets=/secrets
mongod=999 # who mongod runs as in its image

# secret NAME OWNER BYTES: made once, read by its owner only.
secret() {
    local file=$secrets/$1
    if [ ! -s "$file" ]; then
        head -c "$3" /dev/urandom | base64 -w 0 | tr '+/' '-_' | tr -d '=' >"$file.new"
        mv "$file.new" "$file"
    fi
    chmod 400 "$file"
    chown "$2" "$file"
}

make_secrets() {
    secret store_password dengwen-case 32
    secret mongo_root "$mongod" 32
    if [ ! -s "$secrets/mongo_keyfile" ]; then
        head -c 756 /dev/urandom | base64 >"$secrets/mongo_keyfile.new"
        mv "$secrets/mongo_keyfile.new" "$secrets/mongo_keyfile"
    fi
    chmod 400 "$secrets/mongo_keyfile"
    chown "$mongod" "$secrets/mongo_keyfile"
}

# Sockets instead of ports between the programs; ports only where another container or this machine
# asks.  Paths are whole, so that a copy of the settings elsewhere means the same.
make_installation() {
    dengwen init \
        --set "state=$state" --set run=/run/dengwen \
        --set "keys.root=$etc/keys/root.pub" --set "keys.directory=$etc/keys/directory" \
        --set keys.admin=/admin --set keys.offline=/offline \
        --set broker.bind= --set "keyd.users=dengwen-web dengwen-desk" \
        --set web.listen=0.0.0.0:8080 --set desk.listen=0.0.0.0:8081 --set ops.listen=0.0.0.0:9180 \
        --set "web.trusted_proxies=$FRONT_ADDRESS" --set "desk.trusted_proxies=$FRONT_ADDRESS" \
        --set "store.uri=$STORE_URI" --set store.password_file=/run/secrets/store_password \
        "$etc"
    # What init makes for state beside the settings is not used here.
    rmdir "$etc"/state/* "$etc"/state "$etc"/run "$etc"/admin "$etc"/offline
}

# A second case worker has the keys of the first and a folder of its own, which it locks.
share_case_keys() {
    local key
    for key in curve.key sign.key; do
        cp "$state/case/$key" "$state/case-2/$key"
    done
}

# Every program's files belong to its user, whoever made them.
give_to_owners() {
    local part
    for part in keyd broker case notify desk web; do
        if [ -d "$state/$part" ]; then chown -R "dengwen-$part:dengwen" "$state/$part"; fi
    done
    if [ -d "$state/case-2" ]; then
        chown -R dengwen-case:dengwen "$state/case-2"
        chmod 700 "$state/case-2"
    fi
    chmod 755 "$etc" "$etc/keys"
}

case "${1:-}" in
init)
    if [ -e "$etc/dengwen.yaml" ]; then
        echo "There is an installation already: its keys stay as they are."
    else
        make_installation
    fi
    make_secrets
    share_case_keys
    give_to_owners
    ;;
case)
    # All but the name of the chain is as the others have it.
    sed "s/^  #\{0,1\}chain: .*/  chain: \"$2\"/" "$etc/dengwen.yaml" >/tmp/dengwen.yaml
    grep -q "^  chain: \"$2\"" /tmp/dengwen.yaml ||
        { echo "$etc/dengwen.yaml has no line for case.chain" >&2; exit 78; }
    exec dengwen casework -c /tmp/dengwen.yaml
    ;;
*)
    status=0
    dengwen "$@" || status=$?
    give_to_owners # new keys of a month, for one
    exit "$status"
    ;;
esac

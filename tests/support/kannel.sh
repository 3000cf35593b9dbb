#!/bin/bash
# kannel.sh start DIR [PORT]      Kannel (bearerbox, smsbox, fakesmsc): sendsms on 127.0.0.1:PORT (13100),
#                                 and the three ports after it; user dengwen, password demo
# kannel.sh received DIR [LAST]   what reached the telephone network; LAST: so many, the latest
# kannel.sh stop DIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$here/lib.sh"
fakesmsc=/usr/lib/kannel/test/fakesmsc

# Kannel parts its groups by empty lines.
write_settings() {
    cat <<END
group = core
admin-port = $((port + 1))
admin-interface = 127.0.0.1
admin-password = demo
admin-allow-ip = 127.0.0.1
admin-deny-ip = "*.*.*.*"
smsbox-port = $((port + 2))
smsbox-interface = 127.0.0.1
box-allow-ip = 127.0.0.1
box-deny-ip = "*.*.*.*"

group = smsc
smsc = fake
smsc-id = fake
host = 127.0.0.1
port = $((port + 3))
connect-allow-ip = 127.0.0.1

group = smsbox
bearerbox-host = 127.0.0.1
bearerbox-port = $((port + 2))
sendsms-port = $port
sendsms-interface = 127.0.0.1

group = sendsms-user
username = dengwen
password = demo
user-allow-ip = 127.0.0.1
concatenation = true
max-messages = 10
END
}

connected() { grep -q "Fakesmsc client connected" "$1/bearerbox.log"; }

start() {
    local folder=$1 port=${2:-13100} p
    if process_runs "$folder" bearerbox && process_runs "$folder" smsbox &&
        process_runs "$folder" fakesmsc; then
        return
    fi
    stop "$folder"
    command -v bearerbox >/dev/null || fail "there is no SMS gateway here" "Install the package kannel."
    [ -x "$fakesmsc" ] || fail "there is no fakesmsc here" "Install the package kannel-extras."
    for p in 0 1 2 3; do
        ! port_answers $((port + p)) ||
            fail "somebody else listens on port $((port + p))" "Choose another: kannel.sh start DIR PORT"
    done
    mkdir -p "$folder"
    write_settings >"$folder/kannel.conf"
    : >"$folder/bearerbox.log"
    start_process "$folder" bearerbox bearerbox -v 1 "$folder/kannel.conf"
    wait_port $((port + 3)) 20 || fail "bearerbox does not start" "See $folder/bearerbox.log"
    start_process "$folder" smsbox smsbox -v 1 "$folder/kannel.conf"
    # -m 0: sends nothing of its own, and writes what reaches it into its log
    start_process "$folder" fakesmsc "$fakesmsc" -v 0 -H 127.0.0.1 -r $((port + 3)) -m 0 '1 2 text -'
    wait_port "$port" 20 || fail "smsbox does not answer on port $port" "See $folder/smsbox.log"
    wait_until 20 connected "$folder" || fail "fakesmsc does not connect" "See $folder/fakesmsc.log"
}

stop() {
    stop_process "$1" smsbox
    stop_process "$1" fakesmsc
    stop_process "$1" bearerbox
}

case "${1:-} ${2:-}" in
"start "?*) start "$2" "${3:-}" ;;
"stop "?*) stop "$2" ;;
"received "?*) /usr/bin/python3 "$here/received.py" sms "$2/fakesmsc.log" "${@:3}" ;;
*) sed -n '2,5s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac

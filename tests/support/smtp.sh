#!/bin/bash
# smtp.sh start DIR [PORT]      a real SMTP server (aiosmtpd) on 127.0.0.1:PORT (2525)
# smtp.sh received DIR [LAST]   what arrived, for people; LAST: so many, the latest
# smtp.sh stop DIR
#
# Mails lie in DIR/mail/new as they came, one file each.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$here/lib.sh"

start() {
    local folder=$1 port=${2:-2525}
    if process_runs "$folder" smtp; then
        return
    fi
    /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null ||
        fail "there is no SMTP server here" "Install the package python3-aiosmtpd."
    ! port_answers "$port" || fail "somebody else listens on port $port" "Choose another: smtp.sh start DIR PORT"
    mkdir -p "$folder"
    start_process "$folder" smtp /usr/bin/python3 -m aiosmtpd -n -c aiosmtpd.handlers.Mailbox "$folder/mail" \
        -l "127.0.0.1:$port"
    wait_port "$port" 20 || fail "the SMTP server does not answer on port $port" "See $folder/smtp.log"
}

case "${1:-} ${2:-}" in
"start "?*) start "$2" "${3:-}" ;;
"stop "?*) stop_process "$2" smtp ;;
"received "?*) /usr/bin/python3 "$here/received.py" mail "$2/mail/new" "${@:3}" ;;
*) sed -n '2,6s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac

#!/bin/bash
# quickstart.sh - from a fresh Debian 12 to a report that an inspector can read.
#
# Says with --help what it does.  Everything it makes lies in build/quickstart and demo/.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$here/../tests/support/lib.sh"

build=$SOURCE/build/quickstart
demo=$SOURCE/demo
settings=$demo/dengwen.yaml
dengwen=$build/bin/dengwen
inspector=500108.inspector1

usage() {
    cat <<END
usage: conf/quickstart.sh [--with-peers]   install what is missing, build, start, file a report
       conf/quickstart.sh --stop           stop what it started

  --with-peers   also installs an SMTP server and an SMS gateway (packages of the group peers in
                 conf/packages), so that the notices to the reporter are really sent and received
  --stop         stops all of it; demo/ keeps its cases, and the next run goes on with them

It is a demonstration: passwords are known to everybody, so file nothing real.  To begin anew:
conf/quickstart.sh --stop; rm -r demo
END
}

# ---- settings ----

# setting SECTION KEY: as written in dengwen.yaml, or its default, which stands there after a #.
setting() {
    awk -v section="$1:" -v key="$2:" '
        /^[a-z]/ { at = $1 }
        at == section && ($1 == key || $1 == "#" key) {
            sub(/^[^:]*: */, ""); gsub(/^"|"$/, ""); print; exit
        }' "$settings"
}

# change SECTION KEY VALUE
change() {
    awk -v section="$1:" -v key="$2:" -v value="$3" '
        /^[a-z]/ { at = $1 }
        at == section && ($1 == key || $1 == "#" key) { print "  " key " " value; next }
        { print }' "$settings" >"$settings.new"
    mv "$settings.new" "$settings"
}

# ---- steps ----

build_it() {
    step "Build (build/quickstart)"
    mkdir -p "$build"
    # Once: ninja asks cmake again by itself when a CMakeLists.txt has changed.
    [ -f "$build/build.ninja" ] || quietly "$build/configure.log" cmake -S "$SOURCE" -B "$build" -G Ninja \
        -DCMAKE_BUILD_TYPE=Release -DDW_TESTS=OFF ||
        fail "the build could not be set up" "All of it: $build/configure.log"
    quietly "$build/build.log" cmake --build "$build" ||
        fail "the build failed" "All of it: $build/build.log"
    say "  done: $dengwen"
}

# The usual port, or the next one that nobody uses and that is not ours already.
listen_on() {
    local port
    port=$(free_port "$2")
    [ "$port" != "${3:-}" ] || port=$(free_port $((port + 1)))
    [ "$port" = "$2" ] || say "  port $2 is taken: $1 gets $port" >&2
    echo "$port"
}

make_installation() {
    [ ! -f "$settings" ] || return 0
    step "Make an installation with demonstration keys (demo/)"
    [ ! -e "$demo" ] ||
        fail "demo/ is there, but demo/dengwen.yaml is not" "Move the folder away, and run this again."
    local new=$build/demo.new web desk ops broker
    web=$(listen_on "public portal" 8080)
    desk=$(listen_on "staff portal" 8081 "$web")
    ops=$(listen_on "health" 9180)
    broker=$(listen_on "broker" 5570)
    rm -rf "$new"
    "$dengwen" init --demo --set "web.listen=127.0.0.1:$web" --set "desk.listen=127.0.0.1:$desk" \
        --set "ops.listen=127.0.0.1:$ops" --set "broker.bind=tcp://127.0.0.1:$broker" "$new" \
        >"$build/init.log" 2>&1 ||
        fail "dengwen init did not work: $(tail -n 1 "$build/init.log")"
    grep '^  5' "$build/init.log" >"$new/logins.txt"
    mv "$new" "$demo"
    say "  done: $settings"
}

have_mail() { /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null; }
have_sms() { command -v bearerbox >/dev/null && [ -x /usr/lib/kannel/test/fakesmsc ]; }

start_mail() {
    local port
    if ! process_runs "$demo/mail" smtp; then
        port=$(free_port 2525)
        "$SOURCE/tests/support/smtp.sh" start "$demo/mail" "$port"
        if [ "$(setting notify smtp_url)" != "smtp://127.0.0.1:$port" ]; then
            change notify smtp_url "\"smtp://127.0.0.1:$port\""
        fi
    fi
    say "  SMTP server: $(setting notify smtp_url)"
}

start_sms() {
    local port url
    if ! process_runs "$demo/sms" smsbox; then
        port=$(free_port 13100)
        url=http://127.0.0.1:$port/cgi-bin/sendsms
        "$SOURCE/tests/support/kannel.sh" start "$demo/sms" "$port"
        if [ "$(setting notify sms_url)" != "$url" ] || [ "$(setting notify sms_driver)" != kannel ]; then
            (umask 077 && echo demo >"$demo/sms/password")
            change notify sms_driver kannel
            change notify sms_url "\"$url\""
            change notify sms_user dengwen
            change notify sms_password_file '"sms/password"'
        fi
    fi
    say "  SMS gateway: $(setting notify sms_url)"
}

start_peers() {
    step "Mail and SMS"
    if have_mail; then start_mail; else say "  no SMTP server here: no e-mail will leave"; fi
    if have_sms; then start_sms; else say "  no SMS gateway here: no SMS will leave"; fi
}

# It must run with these programs and these settings.
is_current() {
    process_runs "$demo" dengwen && [ ! "$settings" -nt "$demo/dengwen.pid" ] &&
        [ -z "$(find "$build/bin" -newer "$demo/dengwen.pid" -print -quit)" ]
}

explain_start() {
    tail -n 5 "$demo/dengwen.log" | sed 's/^/  | /'
    curl -sS --max-time 5 "$ops/readyz" 2>/dev/null |
        jq -r '.parts | to_entries[] | select(.value.ready | not) | "  \(.key): \(.value.reason)"' || true
}

is_ready_or_gone() { http_good "$ops/readyz" || process_gone "$demo" dengwen; }

start_dengwen() {
    step "Start"
    local began=$SECONDS port said
    if is_current && http_good "$ops/readyz"; then
        say "  it runs already"
        return
    fi
    stop_process "$demo" dengwen 60
    said=$("$dengwen" check-config -c "$settings" 2>&1) || fail "the settings are wrong" "$said"
    for port in "$web" "$desk" "$ops"; do
        ! port_answers "${port##*:}" ||
            fail "another program listens on ${port#http://}" \
                 "Stop it, or set another port in $settings"
    done
    start_process "$demo" dengwen "$dengwen" run -c "$settings"
    say "  waiting until every part is ready (log: demo/dengwen.log)"
    if ! wait_until 60 is_ready_or_gone || process_gone "$demo" dengwen; then
        explain_start
        fail "it does not get ready" "All of it: $demo/dengwen.log"
    fi
    say "  ready after $((SECONDS - began)) s"
}

# ---- one report, all the way ----

report() {
    cat <<'END'
{"kind": "report", "language": "zh-CN",
 "against": {"type": "hospital", "name": "示范康复医院", "district": "500108",
             "address": "南坪示范路 1 号，住院部"},
 "acts": ["PU01"], "when": {"from": "2026-03-01", "to": "2026-06-30", "ongoing": false},
 "facts": "2026 年 3 月至 6 月，该院住院部每周二集中办理入院，病人当天回家，床位一直空着，但按住院结算。",
 "amount_yuan": 120000, "relation": "past_staff",
 "identity": {"name": "示范人", "phone": "13800138000", "email": "reporter@example.org"},
 "notify": {"sms": true, "email": true}, "truthful": true}
END
}

file_report() {
    step "File a report through the public API"
    local answer filing=$build/filing.json evidence=$build/evidence.txt
    report >"$filing"
    printf '2026-03-03 12床 14床 15床：空\n2026-03-10 12床 14床 15床：空\n' >"$evidence"
    answer=$(curl -sS --max-time 30 -H "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" \
        -F "filing=<$filing;type=application/json" -F "file=@$evidence;type=text/plain" \
        "$web/api/v1/filings") || fail "the public portal does not answer" "See $demo/dengwen.log"
    receipt=$(jq -r '.receipt // empty' <<<"$answer")
    [ -n "$receipt" ] || fail "the report was not taken: $answer" "See $demo/dengwen.log"
    say "  taken: sealed and durable"
}

status_of() {
    curl -sS --max-time 10 -H 'Content-Type: application/json' -d "{\"receipt\": \"$1\"}" "$web/api/v1/status"
}

is_stored() {
    status=$(status_of "$receipt") && [ -n "$(jq -r '.reference // empty' <<<"$status")" ]
}

mails() { find "$demo/mail/mail/new" -type f 2>/dev/null | wc -l; }
messages() { grep -c 'Got message' "$demo/sms/fakesmsc.log" 2>/dev/null || true; }
# One when it was registered, one when it was accepted, one with the answer.
notices_came() {
    if have_mail && [ $(($(mails) - mails_before)) -lt 3 ]; then return 1; fi
    if have_sms && [ $(($(messages) - messages_before)) -lt 3 ]; then return 1; fi
}

show_notices() {
    step "What the reporter's telephone and mailbox received"
    wait_until 20 notices_came || say "  (not all of it came within 20 seconds: see demo/dengwen.log)"
    if have_sms; then
        "$SOURCE/tests/support/kannel.sh" received "$demo/sms" 3 | sed 's/^/  SMS /'
    else
        say "  SMS: nothing left, as there is no gateway.  Needed: the packages kannel and kannel-extras"
        say "  (or a gateway of yours), and in $settings notify.sms_driver,"
        say "  sms_url, sms_user, sms_password_file.  conf/quickstart.sh --with-peers does all that."
    fi
    if have_mail; then
        "$SOURCE/tests/support/smtp.sh" received "$demo/mail" 3 | sed 's/^/  | /'
    else
        say "  E-mail: nothing left, as there is no mail server.  Needed: the package python3-aiosmtpd"
        say "  (or a mail server of yours), and in $settings notify.smtp_url."
        say "  conf/quickstart.sh --with-peers does all that."
    fi
}

as_inspector() {
    DENGWEN_USER=$inspector DENGWEN_PASSWORD=demo-$inspector \
        "$dengwen" case -c "$settings" "$@" | sed 's/^/  /' ||
        fail "the staff portal does not answer" "See $demo/dengwen.log"
}

handle_report() {
    step "What $inspector sees, reads, accepts and answers"
    as_inspector -n 10 list
    say ""
    as_inspector show "$reference"
    as_inspector 'do' "$reference" accept
    as_inspector 'do' "$reference" reply text=已受理，将到现场核查。
}

show_all() {
    handle_report
    show_notices
    status=$(status_of "$receipt")
    step "What the reporter reads with the receipt"
    jq -r '"  \(.reference)   \(.state_text)", (.messages[] | "  \(.day)   \(.text)")' <<<"$status"
    step "Dengwen runs"
    say "  receipt        $receipt   (whoever has it can read the report)"
    jq -r '"  reference      \(.reference)",
           "  responsible    \(.body.name)",
           (.due[] | "  due            \(.date)   \(.what)   \(.article)")' <<<"$status"
    say "  public pages   $web/   (follow: $web/follow)"
    say "  staff          $desk/"
    say "  health         $ops/readyz"
    say ""
    say "  demonstration logins of the staff portal"
    sed 's/^/  /' "$demo/logins.txt"
    say ""
    say "  next   DENGWEN_USER=$inspector DENGWEN_PASSWORD=demo-$inspector \\"
    say "           $dengwen case -c $settings show $reference"
    say "  stop   conf/quickstart.sh --stop"
}

stop_all() {
    step "Stop"
    stop_process "$demo" dengwen 60
    "$SOURCE/tests/support/kannel.sh" stop "$demo/sms"
    "$SOURCE/tests/support/smtp.sh" stop "$demo/mail"
    say "  stopped; demo/ keeps its cases"
}

main() {
    local groups=(build run)
    case "${1:-}" in
    "") ;;
    --with-peers) groups+=(peers) ;;
    --stop) stop_all && return ;;
    --help) usage && return ;;
    *) usage >&2 && exit 2 ;;
    esac
    step "Packages (conf/packages: ${groups[*]})"
    install_packages "${groups[@]}"
    build_it
    make_installation
    start_peers
    web=http://$(setting web listen) desk=http://$(setting desk listen) ops=http://$(setting ops listen)
    start_dengwen
    mails_before=$(mails) messages_before=$(messages)
    file_report
    wait_until 30 is_stored || fail "the report is taken, but not yet registered" \
        "It waits in the queue, and its receipt $receipt is good.  Why: $demo/dengwen.log"
    reference=$(jq -r .reference <<<"$status")
    show_all
}

main "$@"

# shellcheck shell=bash
# What scripts/stack does for people: the stack in the foreground, which starts
# again what ended, and "kill SESSION". scripts/stack reads this file; functions
# and variables that are not here are there.
# shellcheck disable=SC2034,SC2154

# how to try the stack; names BUILD only if it is not the default
how_to_try() {
    local script=scripts
    [ "$BUILD" = build ] || script="BUILD=$BUILD $script"
    cat <<TRY

Ready. Logs are in ${run#"$root"/}. To try it, in another terminal:

  cd $root
  $script/play demo         # a client: calls once a second, shows the instance
  $script/stack kill demo   # in a third terminal: kills that instance, and
                            # shows which instance serves the session then
  $BUILD/integrationtests basic_workflow   # Login, ten calls, Shutdown

The user is TestUser with TestPassword. A browser shows the gateway at
http://127.0.0.1:$DASHBOARD_PORT; its API, metrics and state are at
http://127.0.0.1:$ADMIN_PORT/api/1/, /metrics and /status. To see and act:

  $BUILD/myservicectl$([ "$ADMIN_PORT" = 10080 ] ||
    echo " --api http://127.0.0.1:$ADMIN_PORT/api") status      # instances, session demo, move demo ...
TRY
    [ -z "$TLS" ] || cat <<TRY
Over TLS: $BUILD/integrationtests --gateway localhost:$GATEWAY_TLS_PORT --tls \
  --tls-ca $run/tls/ca.crt basic_workflow
TRY
    echo
}

leave() {
    local code=$?
    trap '' INT TERM HUP
    lock
    stop_all || code=1
    exit "$code"
}

# why NAME PID: how the process ended
why() {
    local pid code end=$((SECONDS + 2))
    if [ "$1" = nginx ]; then
        echo "see ${run#"$root"/}/error.log"
        return
    fi
    until read -r pid code 2>/dev/null <"$run/$1.exit" && [ "$pid" = "$2" ]; do
        [ "$SECONDS" -lt "$end" ] || { echo 'exit code unknown'; return; }
        sleep 0.05
    done
    case $code in
    0)  echo 'exit code 0, as after Shutdown' ;;
    137 | 139 | 134 | 143)
        echo "killed by signal $((code - 128)), SIG$(kill -l "$code")" ;;
    *)  echo "exit code $code: see ${run#"$root"/}/$1.log" ;;
    esac
}

# Seconds. A process that ended starts again after PAUSE, so that people see a
# session move. The pause doubles when the process lived for less than SETTLED.
PAUSE=2
PAUSE_MAX=60
SETTLED=10
declare -A due pause since

# revive NAME OLD: starts NAME, whose process was OLD. "scripts/stack run" calls
# this in a session of its own, so that Ctrl-C does not come between the start
# and the note of the process id.
revive() {
    case $1 in
    nginx)
        # workers may still run, and hold the ports
        pkill -KILL -g "$2" -f '^nginx: ' || true
        launch_nginx
        wait_for nginx gateway_ready ;;
    authsvc)
        keep_log authsvc
        start_authsvc
        await_authsvc ;;
    *)
        keep_log "$1"
        start_instance "${1##*-}"
        await_instance "${1##*-}" ;;
    esac
}

# heal NAME: NAME has ended. The caller holds the lock.
heal() {
    local name=$1 pid wait=$PAUSE
    read -r pid _ <"$run/$name.pid"
    if [ -z "${due[$name]:-}" ]; then
        if [ -n "${pause[$name]:-}" ] &&
            [ $((SECONDS - since[$name])) -lt "$SETTLED" ]
        then
            wait=$((pause[$name] * 2))
            [ "$wait" -le "$PAUSE_MAX" ] || wait=$PAUSE_MAX
        fi
        pause[$name]=$wait
        due[$name]=$((SECONDS + wait))
        say "$name (process $pid) has ended: $(why "$name" "$pid");" \
            "it starts again in $wait s"
    elif [ "$SECONDS" -ge "${due[$name]}" ]; then
        unset "due[$name]"
        if setsid -w scripts/stack revive "$name" "$pid"; then
            say "$name runs again as process $(pid_of "$name" || true)"
        fi
        since[$name]=$SECONDS
    fi
}

# Heals everything that ended. Skips a round while another scripts/stack is
# busy: it may have ended a process on purpose.
heal_all() {
    local name
    exec 9>"$run/lock"
    if flock -n 9; then
        for name in $(names); do
            if alive "$name"; then
                unset "due[$name]"
            elif [ -z "$interrupted" ]; then
                heal "$name"
            fi
        done
    fi
    exec 9>&-
}

# Tells once of each process that ended.
tell_all() {
    local name pid
    for name in $(names); do
        if [[ $name != nginx && $told != *" $name "* ]] && ! alive "$name" &&
            [ -z "$interrupted" ] && read -r pid _ <"$run/$name.pid"
        then
            told+="$name "
            say "$name (process $pid) has ended: $(why "$name" "$pid");" \
                "scripts/stack restart ${name##*-} starts it again"
        fi
    done
}

# The foreground. Ends when the gateway is stopped or, with --once, has ended.
run_foreground() {
    local once=$1 told=' '
    trap 'interrupted=1' INT TERM HUP
    interrupted=
    echo "Starting authsvc, $INSTANCES instances and the gateway."
    start_all
    trap leave EXIT
    status || true
    how_to_try
    echo "Ctrl-C stops it."
    exec 9>&-
    while [ -z "$interrupted" ] && [ -e "$run/nginx.pid" ]; do
        if [ -z "$once" ]; then
            heal_all
        elif alive nginx; then
            tell_all
        else
            break
        fi
        sleep 0.5 || true
    done
    if [ -n "$interrupted" ]; then
        say "stopping"
    elif [ -e "$run/nginx.pid" ]; then
        tail -n 5 "$run/error.log" >&2
        die "nginx has ended"
    fi
}


# kill SESSION

# leases: "PORT SESSION" of each lease, from myservice_status
leases() {
    curl -s -f -m 2 "http://127.0.0.1:$ADMIN_PORT/status" |
        grep -o '{"address":"[^{}]*}' |
        sed -n 's/^{"address":"[^"]*:\([0-9]*\)".*"session":"\([^"]*\)".*/\1 \2/p'
}

# owner SESSION: the number of the instance that serves it
owner() {
    local port session
    while read -r port session; do
        if [ "$session" = "$1" ]; then
            echo $((port - MYSERVICE_PORT + 1))
            return
        fi
    done < <(leases)
    return 1
}

# answered SESSION LINE: the instance of the session's first good call after
# this line of the access log
answered() {
    local port
    port=$(tail -n "+$(($2 + 1))" "$run/access.log" |
        grep -F " session=$1 " | grep -F ' grpc=0 ' |
        sed -n 's/.* instance=[^ ]*:\([0-9]*\) .*/\1/p;T;q')
    [ -n "$port" ] && echo $((port - MYSERVICE_PORT + 1))
}

# kill_owner SESSION: a stream moves at once, otherwise the next call does
kill_owner() {
    local old new='' lines end sessions
    if ! old=$(owner "$1"); then
        sessions=$(leases | cut -d ' ' -f 2- | paste -s -d ' ')
        die "there is no instance \"$1\" (1..$INSTANCES), and no session" \
            "\"$1\" has a lease; sessions that have one: ${sessions:-none}"
    fi
    lines=$(wc -l <"$run/access.log")
    signal_instance KILL "$old"
    say "session $1 was on myservice-$old, which is killed"
    exec 9>&-
    end=$((SECONDS + 10))
    until [ "$SECONDS" -ge "$end" ]; do
        new=$(owner "$1") && [ "$new" != "$old" ] && break
        new=$(answered "$1" "$lines") && break
        new=
        sleep 0.1
    done
    if [ -z "$new" ]; then
        say "session $1 has not called for 10 s:" \
            "its next call finds an instance"
    elif [ "$new" = "$old" ]; then
        say "session $1 goes on with myservice-$new, which was started again"
    else
        say "session $1 goes on with myservice-$new"
    fi
}

kill_one() {
    if in_range "$1" 1 "$INSTANCES"; then
        signal_instance KILL "$1"
    else
        kill_owner "$1"
    fi
}

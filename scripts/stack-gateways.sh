# shellcheck shell=bash
# The gateways of scripts/stack, and the store that several of them share.
# scripts/stack reads this file; functions and variables that are not here are
# there.
# shellcheck disable=SC2034,SC2154

# with_gateway N COMMAND...: the command with the directory, the process and the
# ports of gateway N; those of the first are as if it were the only one
with_gateway() {
    local number=$1 gate=$gate gateway=$gateway
    shift
    if [ "$number" -gt 1 ]; then
        local gate=$run/gateway-$number gateway=nginx-$number
        local GATEWAY_PORT=$((GATEWAY_PORT + number - 1))
        local ADMIN_PORT=$((ADMIN_PORT + 2 * (number - 1)))
        local DASHBOARD_PORT=$((DASHBOARD_PORT + 2 * (number - 1)))
    fi
    "$@"
}

each_gateway() {
    local n
    for ((n = 1; n <= GATEWAYS; n++)); do
        with_gateway "$n" "$@"
    done
}

need_gateway_ports() {
    need_port "$GATEWAY_PORT" GATEWAY_PORT
    need_port "$ADMIN_PORT" ADMIN_PORT
    need_port "$DASHBOARD_PORT" DASHBOARD_PORT
}


# The store: "store" and, its replica at first, "store-2". The file store.master
# has the name of the master.

store_port() {
    case $1 in
    store)   echo "$STORE_PORT" ;;
    store-2) echo $((STORE_PORT + 1)) ;;
    esac
}

store_names() {
    echo store
    [ "$STORES" -eq 1 ] || echo store-2
}

store_parts() {
    local name
    for name in $(store_names); do
        echo "$name $name 127.0.0.1:$(store_port "$name")"
    done
}

# the parameters of myservice_store in the gateway at hand, none without a store
store_of_gateway() {
    local name
    [ "$GATEWAYS" -gt 1 ] || return 0
    if [ -n "$STORE_PROXY" ] && [ "$gateway" = "nginx-$GATEWAYS" ]; then
        printf 'redis://127.0.0.1:%s ' "$STORE_PROXY"
    else
        for name in $(store_names); do
            printf 'redis://127.0.0.1:%s ' "$(store_port "$name")"
        done
    fi
    echo "timeout=$STORE_TIMEOUT"
}

check_store() {
    local name
    need_number GATEWAYS 1 8
    need_number STORES 1 2
    [ "$GATEWAYS" -gt 1 ] || return 0
    need_number STORE_PORT 1 65534
    need_time STORE_TIMEOUT
    command -v redis-server >/dev/null || die "redis-server is missing"
    for name in $(store_names); do
        need_port "$(store_port "$name")" STORE_PORT
    done
}

store_ask() {
    local name=$1
    shift
    redis-cli -p "$(store_port "$name")" "$@"
}

store_ready() { [ "$(store_ask "$1" ping)" = PONG ]; }

# a server that has what its master has
store_follows() { store_ask "$1" info replication | grep -q 'link_status:up'; }

# start_store NAME [MASTER]: with nothing in it
start_store() {
    launch "$1" redis-server --port "$(store_port "$1")" --bind 127.0.0.1 \
        --save '' --appendonly no --dir "$run" --dbfilename "$1.rdb" \
        --repl-diskless-sync-delay 0 --maxmemory-policy noeviction \
        ${2:+--replicaof 127.0.0.1 "$(store_port "$2")"}
    wait_for "$1" store_ready "$1"
    [ -z "${2:-}" ] || wait_for "$1" store_follows "$1"
}

start_stores() {
    [ "$GATEWAYS" -gt 1 ] || return 0
    start_store store
    echo store >"$run/store.master"
    [ "$STORES" -eq 1 ] || start_store store-2 store
}

# end_now NAME: kill -9 of all its processes
end_now() {
    local pid
    pid=$(pid_of "$1") || die "$1 is not running"
    kill -KILL -- "-$pid"
    ended_within "$1" "$deadline" ||
        die "$1 (process $pid) is still there after $deadline s"
}

# store_act ACTION, on the master
store_act() {
    local master other=store-2
    [ "$GATEWAYS" -gt 1 ] || die "this stack has no store (GATEWAYS=2)"
    master=$(cat "$run/store.master")
    [ "$master" = store ] || other=store
    case $1 in
    kill)   end_now "$master" ;;
    freeze) kill -STOP "$(pid_of "$master")" ;;
    thaw)   kill -CONT "$(pid_of "$master")" ;;
    start)  start_store "$master" ;;
    leases) store_ask "$master" eval "return redis.call('HLEN', KEYS[1])" \
                1 '{myservice:myservice}:s' ;;
    promote)
        [ "$STORES" -eq 2 ] || die "the store has no replica (STORES=2)"
        store_ask "$other" replicaof no one >/dev/null
        # the last writes, which the new master does not get
        sleep 0.1
        end_now "$master"
        echo "$other" >"$run/store.master"
        start_store "$master" "$other" ;;
    *) die "no action \"$1\" of a store" ;;
    esac
}

gateway_act() {
    in_range "$1" 1 "$GATEWAYS" || die "there is no gateway \"$1\": 1..$GATEWAYS"
    case $2 in
    kill)  with_gateway "$1" end_gateway ;;
    start) with_gateway "$1" launch_nginx
           with_gateway "$1" await_nginx ;;
    drain) with_gateway "$1" drain_instance "${3:-}" \
               "{\"drain\":true${4:+,\"deadline\":\"$4\"}}" ;;
    undrain) with_gateway "$1" drain_instance "${3:-}" '{"drain":false}' ;;
    *) die "no action \"$2\" of a gateway" ;;
    esac
}

end_gateway() { end_now "$gateway"; }

# drain_instance N WORD, by the API of the gateway at hand
drain_instance() {
    need_instance "$1"
    curl -sfS -m 5 -o /dev/null -X PATCH -H 'content-type: application/json' \
        -d "$2" "http://127.0.0.1:$ADMIN_PORT/api/1/upstreams/myservice/instances/127.0.0.1:$(instance_port "$1")"
}


# The first gateway

gateway_master() {
    local pid
    pid=$(pid_of nginx) || die "nginx is not running"
    echo "$pid"
}

# upgraded OLD: a new master has the pid file, and a worker
upgraded() {
    local pid
    pid=$(cat "$run/nginx.master") && [ "$pid" != "$1" ] &&
        [ -n "$(pgrep -P "$pid")" ]
}

upgrade() {
    local old new
    old=$(gateway_master)
    kill -USR2 "$old"
    wait_for nginx upgraded "$old"
    new=$(cat "$run/nginx.master")
    # "stop" must know the new master
    echo "$new $(started_at "$new")" >"$run/nginx-upgraded.pid"
    kill -QUIT "$old"
    ended_within nginx "$deadline" ||
        die "nginx (process $old) is still there after $deadline s"
    mv "$run/nginx-upgraded.pid" "$run/nginx.pid"
}

regateway() {
    finish nginx || true
    launch_nginx
    wait_for nginx gateway_ready
}

# workers of an old configuration have the title "shutting down"
workers() {
    local pid
    pid=$(gateway_master)
    pgrep -P "$pid" -f 'nginx: worker process$' || true
}

# nginx logs an [alert] when a worker is killed, and one for each lock that the
# worker held. "stop" does not count these.
kill_worker() {
    workers | grep -qxF -- "$1" || die "there is no worker \"$1\""
    {
        echo " worker process $1 exited on signal 9"
        echo " was locked by $1"
    } >>"$run/killed"
    kill -KILL "$1"
}


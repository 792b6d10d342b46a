# shellcheck shell=bash
# Jobs that run side by side: scripts/run-unit, run-itests, run-fuzz and
# ci-containers read this file. Each job has a name, its output is $work/NAME. The script has a function
# "collect NAME CODE MILLISECONDS" for a job that has ended.

work=$(mktemp -d)
declare -A jobs_running=() jobs_started=()
patience=5

# in a network and a process namespace of its own; without root in a user
# namespace, as the same user
# shellcheck disable=SC2016,SC2034
isolate=(unshare --net --pid --fork --kill-child --mount-proc)
[ "$(id -u)" -eq 0 ] || isolate+=(--map-current-user --keep-caps)
# shellcheck disable=SC2016
isolate+=(sh -c 'ip link set lo up || exit 1
    setpriv --inh-caps=-all --ambient-caps=-all "$@"; exit $?' sh)

can_isolate() { "${isolate[@]}" /bin/true >/dev/null 2>&1; }

# job NAME SECONDS COMMAND...: starts the command, stops it after so many seconds
job() {
    timeout -k 10 "$2" "${@:3}" >"$work/$1" 2>&1 </dev/null &
    jobs_running[$!]=$1
    jobs_started[$!]=${EPOCHREALTIME/./}
}

# drain N: waits until fewer than N jobs run
drain() {
    local pid code name
    while [ "${#jobs_running[@]}" -ge "$1" ] && [ "${#jobs_running[@]}" -gt 0 ]; do
        code=0
        wait -n -p pid || code=$?
        # bash does not tell of one that a signal ended while "collect" ran
        if [ -z "${jobs_running[${pid:-0}]:-}" ]; then
            for pid in "${!jobs_running[@]}"; do break; done
            code=0
            wait "$pid" || code=$?
        fi
        name=${jobs_running[$pid]}
        unset "jobs_running[$pid]"
        collect "$name" "$code" \
            $(((${EPOCHREALTIME/./} - jobs_started[$pid]) / 1000))
    done
}

# ends the jobs that still run, which have "patience" tenths of a second to clean
# up, and removes the outputs
end_jobs() {
    local pid n
    # a group has all of a job but what has a session of its own; that ends with
    # its namespace. A job that has just been started has no group yet
    for pid in "${!jobs_running[@]}"; do
        kill -TERM -- "-$pid" 2>/dev/null || kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in "${!jobs_running[@]}"; do
        for ((n = 0; n < patience; n++)); do
            kill -0 -- "-$pid" 2>/dev/null || kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
    done
    wait
    rm -rf "$work"
}

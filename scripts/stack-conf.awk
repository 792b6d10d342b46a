# nginx.conf for scripts/stack: the lines marked "# stack" replaced, those behind
# "#tls" with TLS, and what the variables of scripts/stack change. A line that is
# new or gone is an error. -v load= user= servers= run= ...: see write_conf.

tls != "" && /^ *#tls(-clients|-services)? / {
    if (!($1 in uncommented)) { uncommented[$1]; kinds++ }
    sub(/#tls(-clients|-services)? /, "")
    if (/listen 10443/) { listens(10443, tls_port); next }
    sub(/\/etc\/myservice/, run)
    print
    next
}
tls != "" && sub(/grpc_pass grpc:/, "grpc_pass grpcs:") { print; next }
resume == "off" && /^ *myservice_resume .*;/ { dropped++; next }
retry == "off" && /^ *myservice_retry / { skip = 1; cut++ }
skip { skip = !/;/; next }
multiplex != "" && /^ *(keepalive [0-9]+|myservice_multiplex .*);/ {
    print "        " (multiplex == "on" ? "myservice_multiplex on;" : "keepalive 64;")
    muxed++; next }
valgrind != "" && /^ *grpc_connect_timeout / {
    sub(/[0-9]+s;/, "60s;"); patient++ }
workers != "" && /^worker_processes / {
    print "worker_processes " workers ";"; set++; next }
ttl != "" && /^ *myservice_sessions / {
    sub(/ttl=[^; ]*/, "ttl=" ttl); given++ }
drain != "" && /^ *myservice_sessions / {
    sub(/;/, " drain=" drain ";"); bounded++ }
tell == "on" && /^ *myservice_grpc_errors on;/ {
    print "        myservice_tell on;"; told++ }
store != "" && sub(/# myservice_store .*/, "myservice_store " store ";") { stored++ }
limit != "" && sub(/# myservice_limit .*/, "myservice_limit $myservice_jwt_claim_sub max=" limit ";") { limited++ }
queue == "on" && sub(/# myservice_queue/, "myservice_queue") { queued++ }
# only root may raise a limit
files ~ /^[0-9]+$/ && /^worker_rlimit_nofile / && $2 + 0 > files + 0 {
    print "worker_rlimit_nofile " files ";"; few = 1; next }
few && /^ *worker_connections / {
    print "    worker_connections " int(files / 2) ";"; next }
!/# stack$/ { print; if (/^http \{/) temp(); next }
/^load_module/  { n++; print load; next }
/^user/         { n++; if (user != "") print user; next }
# also a new binary, after USR2, must not report what nginx leaves to the exit
/^pid/          { n++; print "pid " gate "/nginx.master;"
                  print "env ASAN_OPTIONS;"; next }
/^error_log/    { n++; print "error_log " gate "/error.log notice;"
                  next }
/^ *access_log/ { n++; print "access_log " gate "/access.log gateway;"
                  next }
/^ *limit_req_zone/ {
    n++; sub(/rate=20r/, "rate=" login_rate "r"); print; next }
/server 127.0.0.1:5001/ {
    n++; sub(/127.0.0.1:5001/, "127.0.0.1:" authsvc); print; next }
/server 127.0.0.1:51/ {
    if (!done++) { n++; printf "%s", servers }; next }
/myservice_jwt_key_file/ && keys == "off" {
    n++; print "            myservice_jwt_secret_file " run "/jwt.secret;"
    next }
/myservice_jwt_key_file/ {
    n++; sub(/\/etc[^;]*/, run "/jwks.json"); print; next }
/listen 10000/  { n++; listens(10000, gateway); next }
/listen 127.0.0.1:10080/ { n++; sub(/10080/, admin); print; next }
/listen 127.0.0.1:10081/ { n++; sub(/10081/, dashboard); print; next }
{ bad = $0 }
function listens(from, to,    i, m, line, addresses) {
    m = split(bind, addresses)
    for (i = 1; i <= m; i++) {
        line = $0
        sub("listen " from, "listen " addresses[i] ":" to, line)
        print line
    }
}
function temp(    i, m, kinds) {
    m = split("client_body proxy fastcgi scgi uwsgi", kinds)
    for (i = 1; i <= m; i++)
        print "    " kinds[i] "_temp_path " gate "/tmp/" kinds[i] ";"
    if (keys == "on") print "    myservice_jwt_key_check 200ms;"
}
END {
    if (bad != "" || n != 12) {
        print "unknown or missing \"# stack\" line: " bad >"/dev/stderr"
        exit 1
    }
    if (tls != "" && kinds != 3) {
        print "lines behind #tls are missing" >"/dev/stderr"
        exit 1
    }
    if ((resume == "off" && !dropped) || (retry == "off" && !cut) ||
        (multiplex != "" && !muxed) || (valgrind != "" && !patient) ||
        (workers != "" && !set) || (ttl != "" && !given) ||
        (drain != "" && !bounded) || (tell == "on" && !told) ||
        (limit != "" && !limited) || (queue == "on" && !queued) || (store != "" && !stored))
    {
        print "a line that is to be changed is missing" >"/dev/stderr"
        exit 1
    }
}

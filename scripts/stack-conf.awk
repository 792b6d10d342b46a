# nginx.conf for scripts/stack: the lines marked "# stack" replaced, those behind
# "#tls" with TLS, and what the variables of scripts/stack change. A line that is
# new or gone is an error. -v load= user= servers= run= ...: see write_conf.

tls != "" && /^ *#tls(-clients|-services)? / {
    if (!($1 in uncommented)) { uncommented[$1]; kinds++ }
    sub(/#tls(-clients|-services)? /, "")
    sub(/listen 10443/, "listen " tls_port)
    sub(/\/etc\/myservice/, run)
    print
    next
}
tls != "" && sub(/grpc_pass grpc:/, "grpc_pass grpcs:") { print; next }
resume == "off" && /^ *myservice_resume .*;/ { dropped++; next }
retry == "off" && /^ *myservice_retry / { skip = 1; cut++ }
skip { skip = !/;/; next }
workers != "" && /^worker_processes / {
    print "worker_processes " workers ";"; set++; next }
ttl != "" && /^ *myservice_sessions / {
    sub(/ttl=[^; ]*/, "ttl=" ttl); given++ }
!/# stack$/ { print; if (/^http \{/) temp(); next }
/^load_module/  { n++; print load; next }
/^user/         { n++; if (user != "") print user; next }
/^pid/          { n++; print "pid " run "/nginx.master;"; next }
/^error_log/    { n++; print "error_log " run "/error.log notice;"
                  next }
/^ *access_log/ { n++; print "access_log " run "/access.log gateway;"
                  next }
/^ *limit_req_zone/ {
    n++; sub(/rate=20r/, "rate=" login_rate "r"); print; next }
/server 127.0.0.1:5001/ {
    n++; sub(/127.0.0.1:5001/, "127.0.0.1:" authsvc); print; next }
/server 127.0.0.1:51/ {
    if (!done++) { n++; printf "%s", servers }; next }
/secret_file/ && keys == "on" {
    n++; print "            myservice_jwt_key_file " run "/jwks.json;"
    next }
/secret_file/   { n++; sub(/\/etc[^;]*/, run "/jwt.secret"); print
                  next }
/listen 10000/  { n++; sub(/10000/, gateway); print; next }
/listen 127.0.0.1:10080/ { n++; sub(/10080/, admin); print; next }
{ bad = $0 }
function temp(    i, m, kinds) {
    m = split("client_body proxy fastcgi scgi uwsgi", kinds)
    for (i = 1; i <= m; i++)
        print "    " kinds[i] "_temp_path " run "/tmp/" kinds[i] ";"
    if (keys == "on") print "    myservice_jwt_key_check 200ms;"
}
END {
    if (bad != "" || n != 11) {
        print "unknown or missing \"# stack\" line: " bad >"/dev/stderr"
        exit 1
    }
    if (tls != "" && kinds != 3) {
        print "lines behind #tls are missing" >"/dev/stderr"
        exit 1
    }
    if ((resume == "off" && !dropped) || (retry == "off" && !cut) ||
        (workers != "" && !set) || (ttl != "" && !given))
    {
        print "a line that is to be changed is missing" >"/dev/stderr"
        exit 1
    }
}

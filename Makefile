# make help lists the targets.

SHELL = /bin/bash

BUILD ?= build
CC ?= gcc
SAN ?=
WERROR ?=

GATEWAY_PORT ?= 10000
ADMIN_PORT ?= 10080
DASHBOARD_PORT ?= 10081
INSTANCES ?= 3
export BUILD GATEWAY_PORT ADMIN_PORT DASHBOARD_PORT INSTANCES

ifeq ($(origin CC),default)
CC = gcc
endif

# a short line for each step; V=1 shows the commands
ifeq ($(V),1)
say = @:
else
Q = @
say = @printf '  %-5s %s\n' $(1) $(2)
endif

JOBS ?= $(shell nproc)
PARALLEL = +$(MAKE) --no-print-directory -j$(JOBS)

B := $(BUILD)
GEN := $(B)/gen
OBJ := $(B)/obj
LIB := $(B)/lib

CPPFLAGS += -I. -Ingx_myservice_module -isystem $(GEN) -isystem /usr/include/postgresql -D_GNU_SOURCE
CFLAGS ?= -O2 -g
CFLAGS += -std=c11 -Wall -Wextra -Wshadow -Wstrict-prototypes \
          -Wmissing-prototypes -fno-omit-frame-pointer \
          $(if $(WERROR),-Werror)
ifneq ($(SAN),)
CFLAGS += -fsanitize=$(SAN) -fno-sanitize-recover=undefined
LDFLAGS += -fsanitize=$(SAN)
endif
LDFLAGS += -Wl,--as-needed
LDLIBS = -lgrpc -lgpr -lprotobuf-c -ljwt -ljansson -lcrypto -lssl \
         -lsodium -lsqlite3 -lpq -lcrypt -lnghttp2 -lbsd -lhiredis -lpthread -lm
CHECK_LIBS = -lcheck -lsubunit -lrt
# a fifth of the time of the default linker, for 130 test programs
CHECK_LD := $(if $(SAN),,$(if $(shell command -v ld.gold),-fuse-ld=gold))

# link LIBRARIES: objects, archives and LIBRARIES to a program
define link
$(call say,LD,$@)
@mkdir -p $(@D)
$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(1) $(LDLIBS)
endef

# a request flows: nginx with the module, then a service on rpc/ and jwt/
DIRS := rpc jwt myservice authsvc itests backendcheck myservicectl
MODULE := ngx_myservice_module
MODULE_PURE := $(wildcard $(MODULE)/wire/*.c $(MODULE)/pool/*.c) $(MODULE)/sessions/pace.c $(MODULE)/store/resp.c
PROGRAMS := $(B)/myservice $(B)/authsvc $(B)/integrationtests $(B)/backendcheck \
            $(B)/myservicectl $(B)/healthcheck

PROTOS := my_service.proto health.proto reflection.proto reflection_v1alpha.proto
GENERATED := $(addprefix $(GEN)/,my_service.pb-c.c health.pb-c.c \
             reflection.pb-c.c protos.c \
             $(addprefix google/protobuf/,timestamp.pb-c.c descriptor.pb-c.c empty.pb-c.c))

objects = $(patsubst %.c,$(OBJ)/%.o,$(filter-out %/main.c,$(wildcard $(1)/*.c) $(filter-out $(1)/t/% $(1)/fuzz/%,$(wildcard $(1)/*/*.c))))
LIBS := $(LIB)/libmyservicectl.a $(LIB)/libbackendcheck.a $(LIB)/libitests.a $(LIB)/libmyservice.a $(LIB)/libauthsvc.a \
        $(LIB)/librpc.a $(LIB)/libjwt.a $(LIB)/libmodule.a $(LIB)/libproto.a

UNIT_SRCS := $(wildcard $(addsuffix /t/test_*.c,$(DIRS) $(MODULE)))
UNIT_TESTS := $(patsubst %.c,$(B)/t/%,$(notdir $(UNIT_SRCS)))
COALESCE_TESTS := conflict deadline errors fallback gateway_health jwt_access retry retry_first sessions stream ttl
MULTIPLEX_TESTS := answers calls coalesce_conn coalesce_stream conflict deadline drain elsewhere \
                   fallback faults flood headers health_check hung idle inflight inflight_dead kept \
                   late_frames leaving limit moved pass queue reload resolve resume retry retry_first \
                   send_timeout sessions stream timers tls_upstream told trailers ttl
MULTIPLEX_SCENARIOS := basic_workflow session_transfer session_flood stream_subscription \
                       stream_subscription_myservice_stop survive_kills survive_reloads
# the others that have "keepalive", and every scenario: make check-multiplex MULTIPLEX=all
MULTIPLEX_MORE := api_move decode_once instance_id metrics resolve_failures resolve_pods \
                  resolve_services revocation store_calls store_faults store_limit store_live \
                  store_names store_queue store_subject store_traps store_word
ifeq ($(MULTIPLEX),all)
MULTIPLEX_TESTS += $(MULTIPLEX_MORE)
MULTIPLEX_SCENARIOS :=
endif
UNIT_TESTS += $(B)/t/test_histogram
MODULE_SRCS := $(filter-out $(MODULE)/t/%,$(wildcard $(MODULE)/*/*.[ch])) $(wildcard jwt/*.[ch]) version.h config $(MODULE)/exports.map $(wildcard $(MODULE)/operator/*.html $(MODULE)/store/*.lua)

.PHONY: all
all: $(PROGRAMS) module                 ## build everything
	@:

.PHONY: deps
deps:                                   ## install what is missing (Debian)
	@scripts/deps

.PHONY: programs
programs: $(PROGRAMS)

.PHONY: module
module: $(B)/ngx_http_myservice_module.so ## the dynamic nginx module

$(B)/ngx_http_myservice_module.so: $(MODULE_SRCS) scripts/build-module
	$(call say,NGX,$@)
	$(Q)scripts/build-module dynamic $(B)/nginx $@

.PHONY: static
static:                                 ## nginx with the module built in
	$(call say,NGX,'$(B)/nginx-static/nginx (the whole of nginx: a minute or two)')
	$(Q)scripts/build-module static $(B)/nginx-static $(B)/nginx-static/nginx


# generated code

$(GEN)/%.pb-c.c: proto/%.proto
	$(call say,GEN,$@)
	@mkdir -p $(GEN)
	$(Q)protoc-c -I proto -I /usr/include --c_out=$(GEN) $<

$(GEN)/google/protobuf/%.pb-c.c:
	$(call say,GEN,$@)
	@mkdir -p $(GEN)
	$(Q)protoc-c -I /usr/include --c_out=$(GEN) google/protobuf/$*.proto

# all of it for server reflection (rpc/reflection.h)
$(GEN)/protos.c: $(addprefix proto/,$(PROTOS))
	$(call say,GEN,$@)
	@mkdir -p $(GEN)
	$(Q)protoc -I proto -I /usr/include --include_imports \
	    --descriptor_set_out=$(GEN)/protos.set $(PROTOS)
	@{ echo '#include "rpc/reflection.h"'; \
	   echo 'const unsigned char  rpc_protos[] = {'; \
	   od -An -v -tx1 $(GEN)/protos.set | sed 's/ \(..\)/0x\1,/g'; \
	   echo '};'; \
	   echo 'const size_t  rpc_protos_len = sizeof(rpc_protos);'; } >$@

# not removed as intermediate files: all would be built again each time
.SECONDARY: $(GENERATED)

$(LIB)/libproto.a: $(GENERATED:$(GEN)/%.c=$(OBJ)/gen/%.o)

$(OBJ)/gen/%.o: $(GEN)/%.c $(GENERATED)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-missing-prototypes -c -o $@ $<


# objects, libraries, programs

$(OBJ)/%.o: %.c | $(GENERATED)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(foreach d,$(DIRS),$(eval $(LIB)/lib$(d).a: $(call objects,$(d))))
$(LIB)/libmodule.a: $(MODULE_PURE:%.c=$(OBJ)/%.o)

$(LIB)/%.a:
	$(call say,AR,$@)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/myservice: $(OBJ)/myservice/main.o $(LIBS)
$(B)/authsvc: $(OBJ)/authsvc/main.o $(LIBS)
$(B)/integrationtests: $(OBJ)/itests/main.o $(LIBS)
$(B)/backendcheck: $(OBJ)/backendcheck/main.o $(LIBS)
$(B)/myservicectl: $(OBJ)/myservicectl/main.o $(LIBS)
$(B)/myservicectl $(B)/authsvc: LDLIBS += -lcurl
$(B)/healthcheck: $(OBJ)/docker/healthcheck.o $(LIBS)

$(PROGRAMS):
	$(call link)

define unit_test
$(B)/t/$(notdir $(1:%.c=%)): $(OBJ)/$(1:%.c=%.o) $(LIBS) \
    $(patsubst %.c,$(OBJ)/%.o,$(filter-out $(dir $(1))test_%.c,$(wildcard $(dir $(1))*.c)))
	$$(call link,$$(CHECK_LD) $$(CHECK_LIBS))
endef
$(foreach t,$(UNIT_SRCS),$(eval $(call unit_test,$(t))))

$(addprefix $(B)/t/test_jwt_,attacks conf keys): $(addprefix $(OBJ)/jwt/t/,signer.o forge.o)

$(B)/t/test_myservice_floods $(B)/t/test_authsvc_floods: $(OBJ)/rpc/t/flood.o

$(B)/t/test_myservice_start $(B)/t/test_authsvc: $(OBJ)/rpc/t/scrape.o

$(B)/t/test_store_live: | $(B)/t/clock.so

$(B)/t/clock.so: $(MODULE)/t/preload/clock.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -Wall -Wextra $(if $(WERROR),-Werror) -fPIC -shared -o $@ $<

$(B)/t/test_histogram: $(OBJ)/bench/t/test_histogram.o $(OBJ)/bench/histogram.o
	$(call link,$(CHECK_LD) $(CHECK_LIBS))

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)


# running

.PHONY: run
run: deps                               ## the whole stack in the foreground
	@$(PARALLEL) all
	@scripts/stack run

.PHONY: up
up: deps                                ## the same stack, detached
	@$(PARALLEL) all
	@scripts/stack start

.PHONY: down
down:                                   ## stop what "up" started
	@scripts/stack stop

.PHONY: docker-up docker-down
docker-up:                              ## the stack in containers
	@scripts/docker-stack start

docker-down:                            ## remove what "docker-up" started
	@scripts/docker-stack stop


# testing

.PHONY: test
test: deps                              ## everything
	@$(PARALLEL) all tests
	@$(MAKE) --no-print-directory unit itest check-docs check-rooms check-install

.PHONY: tests
tests: $(UNIT_TESTS) $(B)/examples/greeter
	@:

.PHONY: unit
unit: tests programs module             ## unit tests and module tests (Check)
	@scripts/run-unit $(UNIT_TESTS)

.PHONY: quick
quick: export UNIT_BUDGET ?= 40
quick:                                  ## build and test what changed, in under a minute
	@$(PARALLEL) tests programs module
	@scripts/run-unit $(UNIT_TESTS)

.PHONY: check-coalesce
check-coalesce: tests programs module   ## module tests with myservice_coalesce and myservice_decode_once
	@NGINX_HTTP='myservice_coalesce on; myservice_decode_once on;' scripts/run-unit \
	    $(COALESCE_TESTS:%=$(B)/t/test_%)

.PHONY: check-multiplex
check-multiplex: all tests              ## module tests and scenarios with myservice_multiplex on
	@NGINX_KEEPALIVE='myservice_multiplex on;' scripts/run-unit \
	    $(MULTIPLEX_TESTS:%=$(B)/t/test_%)
	@MULTIPLEX=on scripts/run-itests $(MULTIPLEX_SCENARIOS)

.PHONY: itest
itest: all                              ## every scenario, each on a fresh stack
	@scripts/run-itests

itest_%: all                            ## one scenario
	@scripts/run-itests $*

.PHONY: check-gateways
check-gateways: all                     ## the gateways_ scenarios: three gateways with one store
	@scripts/run-itests $$($(B)/integrationtests --list | awk '/^gateways_/ { print $$1 }')

.PHONY: soak
soak: all                               ## the survive_ scenarios, a minute each
	@echo "soak: each scenario does harm for $${TEST_SOAK:-60s}"
	@TEST_SOAK=$${TEST_SOAK:-60s} scripts/run-itests \
	    $$($(B)/integrationtests --list | awk '/^survive_/ { print $$1 }')

.PHONY: compat
compat: all                             ## other gRPC clients: Python, Node, Go
	@scripts/run-compat

.PHONY: examples
examples:                               ## services in other languages, each behind the gateway
	@scripts/deps examples
	@$(PARALLEL) module $(B)/backendcheck
	@examples/run --check

.PHONY: docker-itest
docker-itest:                           ## the scenarios in containers
	@docker/run-itests

docker-itest_%:                         ## one scenario in containers
	@docker/run-itests $*

.PHONY: check-helm
check-helm:                             ## the chart's values against their schema, rendered where helm is
	@scripts/deps helm
	@scripts/check-helm

.PHONY: check-rooms
check-rooms:                            ## includes go down a floor, no circles
	@scripts/check-rooms

.PHONY: check-docs
check-docs: programs                    ## every directive and option is documented
	@scripts/check-docs

.PHONY: lint
lint:                                   ## cppcheck, clang-tidy, gcc -fanalyzer, shellcheck, mandoc, codespell
	@scripts/deps lint
	@$(PARALLEL) compile_commands.json
	@scripts/lint $(PARTS)

# examples/c; those of other languages are built by examples/run

$(GEN)/greeter.pb-c.c: examples/c/greeter.proto
	$(call say,GEN,$@)
	@mkdir -p $(GEN)
	$(Q)protoc-c -I examples/c --c_out=$(GEN) $<

$(OBJ)/examples/c/greeter.o: $(GEN)/greeter.pb-c.c

$(B)/examples/greeter: $(OBJ)/examples/c/greeter.o $(OBJ)/examples/c/session.o \
    $(OBJ)/gen/greeter.pb-c.o $(LIBS)
	$(call link)

# the same tests with what finds errors that tests do not; .ci/run has them all

CLANG := $(B)/clang
SANITIZED := $(B)/san
NGINX_SANITIZED = $(abspath $(SANITIZED))/nginx-static/nginx

.PHONY: check-clang
check-clang: deps                       ## everything compiles with clang, warnings are errors
	@$(PARALLEL) BUILD=$(CLANG) CC=clang WERROR=1 \
	    all tests

.PHONY: check-san
check-san: deps                         ## tests and scenarios under ASan and UBSan
	@$(PARALLEL) BUILD=$(SANITIZED) \
	    SAN=address,undefined programs tests static
	@BUILD=$(SANITIZED) NGINX_BINARY=$(NGINX_SANITIZED) \
	    scripts/run-unit $(UNIT_TESTS:$(B)/%=$(SANITIZED)/%)
	@BUILD=$(SANITIZED) NGINX_BINARY=$(NGINX_SANITIZED) scripts/run-itests
	@BUILD=$(SANITIZED) NGINX_BINARY=$(NGINX_SANITIZED) scripts/run-itests \
	    $$($(SANITIZED)/integrationtests --list | awk '/^gateways_/ { print $$1 }')

.PHONY: check-operator
check-operator:                         ## myservicectl, and what promtool says of metrics and alerts
	@scripts/deps metrics
	@$(PARALLEL) all
	@scripts/check-operator

.PHONY: check-dashboard
check-dashboard:                        ## the dashboard in a real Chromium, against a live stack
	@scripts/deps dashboard
	@$(PARALLEL) all
	@scripts/check-dashboard

.PHONY: check-valgrind
check-valgrind: deps                    ## scenarios with the services under valgrind
	@$(PARALLEL) all
	@echo "check-valgrind: a scenario takes about ten seconds, all five minutes"
	@VALGRIND=1 scripts/run-itests

# fuzzing: NAME.c in a folder "fuzz" with the inputs of corpus/NAME beside it

FUZZED := $(B)/fuzz
FUZZ := $(patsubst %.c,$(B)/fuzz/%,$(notdir $(wildcard jwt/fuzz/*.c $(MODULE)/t/fuzz/*.c)))
FUZZ_TIME ?= $(if $(QUICK),30,300)
export FUZZ_TIME

$(B)/fuzz/%: $(OBJ)/jwt/fuzz/%.o $(LIB)/libjwt.a
	$(call link,-fsanitize=fuzzer)

$(B)/fuzz/%: $(OBJ)/$(MODULE)/t/fuzz/%.o $(LIB)/libmodule.a
	$(call link,-fsanitize=fuzzer)

.PHONY: fuzz-programs
fuzz-programs: $(FUZZ)

.PHONY: fuzz
fuzz:                                   ## fuzz parsers, FUZZ_TIME=300 seconds a target (QUICK=1: 30)
	@$(PARALLEL) BUILD=$(FUZZED) CC=clang \
	    SAN=address,undefined,fuzzer-no-link fuzz-programs
	@BUILD=$(FUZZED) scripts/run-fuzz

.PHONY: check-fuzz
check-fuzz:                             ## the same for 30 seconds a target
	@$(MAKE) --no-print-directory fuzz FUZZ_TIME=30

.PHONY: ci
ci:                                     ## what .ci/run runs, under an hour
	@.ci/run

.PHONY: full
full:                                   ## the same with long soaks and fuzzing, compat, bench
	@.ci/run full


# benchmarks: docs/performance.md

BENCH := $(addprefix $(B)/bench/,backend failover grpcxx guard hash load pool \
         report)

bench_objects = $(addprefix $(OBJ)/bench/,$(addsuffix .o,$(1)))

$(B)/bench/backend: $(call bench_objects,backend wire)
$(B)/bench/load: $(call bench_objects,load calls histogram proc token wire)

$(B)/bench/report: $(call bench_objects,report stats svg)

$(B)/bench/guard: $(call bench_objects,guard stats)

$(addprefix $(B)/bench/,backend load report guard):
	$(call link)

$(B)/bench/hash: $(call bench_objects,hash) $(LIBS)
$(B)/bench/failover: $(call bench_objects,failover histogram token) $(LIBS)

$(B)/bench/hash $(B)/bench/failover:
	$(call link)

# grpc++, to compare myservice with
$(GEN)/cxx/my_service.grpc.pb.cc: proto/my_service.proto
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)protoc -I proto -I /usr/include --cpp_out=$(@D) --grpc_out=$(@D) \
	    --plugin=protoc-gen-grpc=$$(command -v grpc_cpp_plugin) $<

$(B)/bench/grpcxx: bench/grpcxx.cc $(GEN)/cxx/my_service.grpc.pb.cc
	@mkdir -p $(@D)
	$(call say,CXX,$@)
	$(Q)$(CXX) -std=c++17 -O2 -g -Wall -Wextra -isystem $(GEN)/cxx -o $@ $^ \
	    $(GEN)/cxx/my_service.pb.cc $$(pkg-config --libs grpc++ protobuf)

.PHONY: bench
bench:                                  ## against bare nginx and HAProxy; QUICK=1: two minutes
	@scripts/deps bench
	@$(PARALLEL) all bench-programs
	@bench/run $(PARTS)

.PHONY: check-cost
check-cost:                             ## what a call costs, against bench/baseline.json
	@scripts/deps cost
	@$(PARALLEL) module \
	    $(addprefix $(B)/bench/,backend guard load)
	@bench/cost

.PHONY: bench-programs
bench-programs: $(BENCH)

$(B)/bench/pool: $(OBJ)/bench/pool.o $(LIB)/libmodule.a
	$(call link)

.PHONY: bench-pool
bench-pool: $(B)/bench/pool             ## ns per operation of the lease table
	@$<

$(B)/bench/login: $(call bench_objects,login) $(LIBS)
	$(call link)

.PHONY: bench-login
bench-login: $(B)/bench/login $(B)/authsvc ## what Login tells by its time, and costs others
	@bench/logins

$(B)/bench/jwt: $(call bench_objects,jwt) $(OBJ)/jwt/t/signer.o \
    $(OBJ)/jwt/t/forge.o $(LIB)/libjwt.a
	$(call link)

.PHONY: bench-jwt
bench-jwt: $(B)/bench/jwt               ## us per token: algorithms, openssl speed, cache
	@$<


# what a machine gets that runs it, and what an editor wants to know

# manual pages; "@HELP@" in them is what the program says
PAGES := authsvc/authsvc.8 myservice/myservice.8 itests/integrationtests.1 \
         backendcheck/backendcheck.1 $(wildcard myservicectl/myservicectl.1)
MAN := $(addprefix $(B)/man/,$(notdir $(PAGES)))

define man_page
$(B)/man/$(notdir $(1)): $(1) $(B)/$(basename $(notdir $(1))) scripts/man
	$$(call say,MAN,$$@)
	@mkdir -p $$(@D)
	$$(Q)scripts/man $$(word 2,$$^) $$< >$$@
endef

$(foreach file,$(PAGES),$(eval $(call man_page,$(file))))

.PHONY: man
man: $(MAN)                             ## manual pages in build/man

.PHONY: deb
deb:                                    ## packages for this Debian in build/deb
	@scripts/make-deb $(B)/deb

PREFIX ?= /usr/local
NGX_MODULES_DIR ?= $(PREFIX)/lib/nginx/modules
DOCDIR ?= $(PREFIX)/share/doc/myservice

.PHONY: install
install: all man                        ## DESTDIR= PREFIX=/usr/local NGX_MODULES_DIR=
	$(call say,INST,'$(DESTDIR)$(PREFIX)')
	$(Q)install -d $(addprefix $(DESTDIR),$(PREFIX)/bin $(NGX_MODULES_DIR) \
	    $(DOCDIR)/docs $(DOCDIR)/proto)
	$(Q)install $(addprefix $(B)/,authsvc myservice integrationtests backendcheck myservicectl) \
	    $(DESTDIR)$(PREFIX)/bin
	$(Q)install -m 644 $(B)/ngx_http_myservice_module.so \
	    $(DESTDIR)$(NGX_MODULES_DIR)
	$(Q)install -m 644 README.md LICENSE CHANGELOG.md $(DESTDIR)$(DOCDIR)
	$(Q)install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$(Q)install -m 644 myservicectl/completion.bash \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/myservicectl
	$(Q)install -d $(addprefix $(DESTDIR)$(PREFIX)/share/man/,man1 man8)
	$(Q)install -m 644 $(filter %.1,$(MAN)) $(DESTDIR)$(PREFIX)/share/man/man1
	$(Q)install -m 644 $(filter %.8,$(MAN)) $(DESTDIR)$(PREFIX)/share/man/man8
	$(Q)install -d $(DESTDIR)$(DOCDIR)/docs/pictures
	$(Q)install -m 644 $(wildcard docs/*.*) $(DESTDIR)$(DOCDIR)/docs
	$(Q)install -m 644 docs/pictures/* $(DESTDIR)$(DOCDIR)/docs/pictures
	$(Q)install -m 644 proto/*.proto $(DESTDIR)$(DOCDIR)/proto
	$(Q)sed 's|^load_module modules/|load_module $(NGX_MODULES_DIR)/|' \
	    nginx.conf >$(DESTDIR)$(DOCDIR)/nginx.conf

.PHONY: check-install
check-install: all                      ## "make install" into a temporary folder
	@scripts/check-install

.PHONY: compile_commands.json
compile_commands.json: module $(GENERATED) ## for clangd
	$(call say,GEN,$@)
	$(Q)scripts/compile-commands >$@

.PHONY: clean
clean:                                  ## remove build/
	rm -rf $(B)

.PHONY: help
help:                                   ## this list
	@awk -F ':.*## ' '/^[a-z%_.-]+:.*## / { sub(/ +$$/, "", $$1); \
	    printf "  make %-21s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  variables: GATEWAY_PORT ADMIN_PORT INSTANCES" \
	    "CC SAN=address,undefined WERROR=1 BUILD"

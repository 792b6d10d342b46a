# make help lists the targets.

SHELL = /bin/bash

BUILD ?= build
CC ?= gcc
SAN ?=
WERROR ?=

GATEWAY_PORT ?= 10000
ADMIN_PORT ?= 10080
INSTANCES ?= 3
export BUILD GATEWAY_PORT ADMIN_PORT INSTANCES

ifeq ($(origin CC),default)
CC = gcc
endif

B := $(BUILD)
GEN := $(B)/gen
OBJ := $(B)/obj
LIB := $(B)/lib

CPPFLAGS += -I. -isystem $(GEN) -isystem /usr/include/postgresql -D_GNU_SOURCE
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
         -lsodium -lsqlite3 -lpq -lcrypt -lnghttp2 -lpthread -lm
CHECK_LIBS = -lcheck -lsubunit -lrt

# a request flows: nginx with the module, then a service on rpc/ and jwt/
DIRS := rpc jwt myservice authsvc itests
MODULE := ngx_myservice_module
MODULE_PURE := $(wildcard $(MODULE)/pool*.c) $(addprefix $(MODULE)/,frames.c health_message.c messages.c percent.c timeout.c)
PROGRAMS := $(B)/myservice $(B)/authsvc $(B)/integrationtests $(B)/healthcheck

PROTOS := my_service.proto health.proto reflection.proto reflection_v1alpha.proto
GENERATED := $(addprefix $(GEN)/,my_service.pb-c.c health.pb-c.c \
             reflection.pb-c.c google/protobuf/timestamp.pb-c.c \
             google/protobuf/descriptor.pb-c.c protos.c)

objects = $(patsubst %.c,$(OBJ)/%.o,$(filter-out %/main.c,$(wildcard $(1)/*.c)))
LIBS := $(LIB)/libitests.a $(LIB)/libmyservice.a $(LIB)/libauthsvc.a \
        $(LIB)/librpc.a $(LIB)/libjwt.a $(LIB)/libmodule.a $(LIB)/libproto.a

UNIT_SRCS := $(wildcard $(addsuffix /t/test_*.c,$(DIRS) $(MODULE)))
UNIT_TESTS := $(patsubst %.c,$(B)/t/%,$(notdir $(UNIT_SRCS)))
COALESCE_TESTS := conflict deadline errors fallback gateway_health jwt_access retry sessions stream ttl
UNIT_TESTS += $(B)/t/test_histogram
MODULE_SRCS := $(wildcard $(MODULE)/*.c $(MODULE)/*.h jwt/*.c jwt/*.h config)

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
	scripts/build-module dynamic $(B)/nginx $@

.PHONY: static
static:                                 ## nginx with the module built in
	scripts/build-module static $(B)/nginx-static $(B)/nginx-static/nginx


# generated code

$(GEN)/%.pb-c.c: proto/%.proto
	@mkdir -p $(GEN)
	protoc-c -I proto -I /usr/include --c_out=$(GEN) $<

$(GEN)/google/protobuf/%.pb-c.c:
	@mkdir -p $(GEN)
	protoc-c -I /usr/include --c_out=$(GEN) google/protobuf/$*.proto

# all of it for server reflection (rpc/reflection.h)
$(GEN)/protos.c: $(addprefix proto/,$(PROTOS))
	@mkdir -p $(GEN)
	protoc -I proto -I /usr/include --include_imports \
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
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-missing-prototypes -c -o $@ $<


# objects, libraries, programs

$(OBJ)/%.o: %.c | $(GENERATED)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(foreach d,$(DIRS),$(eval $(LIB)/lib$(d).a: $(call objects,$(d))))
$(LIB)/libmodule.a: $(MODULE_PURE:%.c=$(OBJ)/%.o)

$(LIB)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/myservice: $(OBJ)/myservice/main.o $(LIBS)
$(B)/authsvc: $(OBJ)/authsvc/main.o $(LIBS)
$(B)/integrationtests: $(OBJ)/itests/main.o $(LIBS)
$(B)/healthcheck: $(OBJ)/docker/healthcheck.o $(LIBS)

$(PROGRAMS):
	$(CC) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LDLIBS)

define unit_test
$(B)/t/$(notdir $(1:%.c=%)): $(OBJ)/$(1:%.c=%.o) $(LIBS) \
    $(patsubst %.c,$(OBJ)/%.o,$(filter-out $(dir $(1))test_%.c,$(wildcard $(dir $(1))*.c)))
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) \
	    $$(CHECK_LIBS) $$(LDLIBS)
endef
$(foreach t,$(UNIT_SRCS),$(eval $(call unit_test,$(t))))

$(addprefix $(B)/t/test_jwt_,attacks conf keys): $(addprefix $(OBJ)/jwt/t/,signer.o forge.o)

$(B)/t/test_histogram: $(OBJ)/bench/t/test_histogram.o $(OBJ)/bench/histogram.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(CHECK_LIBS) $(LDLIBS)

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)


# running

.PHONY: run
run: deps                               ## the whole stack in the foreground
	@$(MAKE) --no-print-directory -j2 all
	@scripts/stack run

.PHONY: up
up: deps                                ## the same stack, detached
	@$(MAKE) --no-print-directory -j2 all
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
	@$(MAKE) --no-print-directory -j2 all tests
	@$(MAKE) --no-print-directory unit itest check-docs

.PHONY: tests
tests: $(UNIT_TESTS)

.PHONY: unit
unit: tests programs module             ## unit tests and module tests (Check)
	@scripts/run-unit $(UNIT_TESTS)

.PHONY: check-coalesce
check-coalesce: tests programs module   ## module tests with myservice_coalesce on
	@NGINX_HTTP='myservice_coalesce on;' scripts/run-unit \
	    $(COALESCE_TESTS:%=$(B)/t/test_%)

.PHONY: itest
itest: all                              ## every scenario, each on a fresh stack
	@scripts/run-itests

itest_%: all                            ## one scenario
	@scripts/run-itests $*

.PHONY: soak
soak: all                               ## the survive_ scenarios, a minute each
	@TEST_SOAK=$${TEST_SOAK:-60s} scripts/run-itests \
	    $$($(B)/integrationtests --list | awk '/^survive_/ { print $$1 }')

.PHONY: compat
compat: all                             ## other gRPC clients: Python, Node, Go
	@scripts/run-compat

.PHONY: docker-itest
docker-itest:                           ## the scenarios in containers
	@docker/run-itests

docker-itest_%:                         ## one scenario in containers
	@docker/run-itests $*

.PHONY: check-docs
check-docs: programs                    ## every directive and option is documented
	@scripts/check-docs

# the same tests with what finds errors that tests do not; .ci/run has them all

CLANG := $(B)/clang
SANITIZED := $(B)/san
NGINX_SANITIZED = $(abspath $(SANITIZED))/nginx-static/nginx

.PHONY: check-clang
check-clang: deps                       ## everything compiles with clang, warnings are errors
	@$(MAKE) --no-print-directory -j2 BUILD=$(CLANG) CC=clang WERROR=1 \
	    all tests

.PHONY: check-san
check-san: deps                         ## tests and scenarios under ASan and UBSan
	@$(MAKE) --no-print-directory -j2 BUILD=$(SANITIZED) \
	    SAN=address,undefined programs tests static
	@BUILD=$(SANITIZED) NGINX_BINARY=$(NGINX_SANITIZED) \
	    scripts/run-unit $(UNIT_TESTS:$(B)/%=$(SANITIZED)/%)
	@BUILD=$(SANITIZED) NGINX_BINARY=$(NGINX_SANITIZED) scripts/run-itests

.PHONY: check-valgrind
check-valgrind: deps                    ## scenarios with the services under valgrind
	@$(MAKE) --no-print-directory -j2 all
	@VALGRIND=1 scripts/run-itests

# fuzzing: jwt/fuzz/NAME.c with the inputs of jwt/fuzz/corpus/NAME

FUZZED := $(B)/fuzz
FUZZ := $(patsubst jwt/fuzz/%.c,$(B)/fuzz/%,$(wildcard jwt/fuzz/*.c))
FUZZ_TIME ?= $(if $(QUICK),30,300)
export FUZZ_TIME

$(B)/fuzz/%: $(OBJ)/jwt/fuzz/%.o $(LIB)/libjwt.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

.PHONY: fuzz-programs
fuzz-programs: $(FUZZ)

.PHONY: fuzz
fuzz:                                   ## fuzz jwt/, FUZZ_TIME=300 seconds a target (QUICK=1: 30)
	@$(MAKE) --no-print-directory -j2 BUILD=$(FUZZED) CC=clang \
	    SAN=address,undefined,fuzzer-no-link fuzz-programs
	@BUILD=$(FUZZED) scripts/run-fuzz

.PHONY: check-fuzz
check-fuzz:                             ## the same for 30 seconds a target
	@$(MAKE) --no-print-directory fuzz FUZZ_TIME=30

.PHONY: ci
ci:                                     ## what .ci/run runs
	@.ci/run


# benchmarks: docs/performance.md

BENCH := $(addprefix $(B)/bench/,backend failover grpcxx guard hash load pool \
         report)
BENCH_LIBS = -lnghttp2 -lssl -lcrypto -ljwt -ljansson -lm

bench_objects = $(addprefix $(OBJ)/bench/,$(addsuffix .o,$(1)))

$(B)/bench/backend: $(call bench_objects,backend wire)
$(B)/bench/load: $(call bench_objects,load calls histogram proc token wire)

$(B)/bench/report: $(call bench_objects,report stats svg)

$(B)/bench/guard: $(call bench_objects,guard stats)

$(addprefix $(B)/bench/,backend load report guard):
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(BENCH_LIBS)

$(B)/bench/hash: $(call bench_objects,hash) $(LIBS)
$(B)/bench/failover: $(call bench_objects,failover histogram token) $(LIBS)

$(B)/bench/hash $(B)/bench/failover:
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# grpc++, to compare myservice with
$(GEN)/cxx/my_service.grpc.pb.cc: proto/my_service.proto
	@mkdir -p $(@D)
	protoc -I proto -I /usr/include --cpp_out=$(@D) --grpc_out=$(@D) \
	    --plugin=protoc-gen-grpc=$$(command -v grpc_cpp_plugin) $<

$(B)/bench/grpcxx: bench/grpcxx.cc $(GEN)/cxx/my_service.grpc.pb.cc
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O2 -g -Wall -Wextra -isystem $(GEN)/cxx -o $@ $^ \
	    $(GEN)/cxx/my_service.pb.cc $$(pkg-config --libs grpc++ protobuf)

.PHONY: bench
bench:                                  ## against bare nginx and HAProxy; QUICK=1: two minutes
	@scripts/deps bench
	@$(MAKE) --no-print-directory -j2 all bench-programs
	@bench/run $(PARTS)

.PHONY: check-cost
check-cost:                             ## what a call costs, against bench/baseline.json
	@scripts/deps cost
	@$(MAKE) --no-print-directory -j2 module \
	    $(addprefix $(B)/bench/,backend guard load)
	@bench/cost

.PHONY: bench-programs
bench-programs: $(BENCH)

$(B)/bench/pool: $(OBJ)/bench/pool.o $(LIB)/libmodule.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

.PHONY: bench-pool
bench-pool: $(B)/bench/pool             ## ns per operation of the lease table
	@$<

$(B)/bench/login: $(call bench_objects,login) $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

.PHONY: bench-login
bench-login: $(B)/bench/login $(B)/authsvc ## what Login tells by its time, and costs others
	@bench/logins

$(B)/bench/jwt: $(call bench_objects,jwt) $(OBJ)/jwt/t/signer.o \
    $(OBJ)/jwt/t/forge.o $(LIB)/libjwt.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

.PHONY: bench-jwt
bench-jwt: $(B)/bench/jwt               ## us per token: algorithms, openssl speed, cache
	@$<

.PHONY: clean
clean:                                  ## remove build/
	rm -rf $(B)

.PHONY: help
help:                                   ## this list
	@awk -F ':.*## ' '/^[a-z%_-]+:.*## / { sub(/ +$$/, "", $$1); \
	    printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  variables: GATEWAY_PORT ADMIN_PORT INSTANCES" \
	    "CC SAN=address,undefined WERROR=1 BUILD"

# SPDX-License-Identifier: Apache-2.0
# kyok: see README.md. `make help` lists the targets.

PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
CC ?= gcc
PKG_CONFIG ?= pkg-config

CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
HARDENING = -fstack-protector-strong -D_FORTIFY_SOURCE=2
# SANITIZE=address,undefined or SANITIZE=thread builds everything that way.
ifneq ($(SANITIZE),)
HARDENING = -fsanitize=$(SANITIZE) -fno-omit-frame-pointer
LDFLAGS += -fsanitize=$(SANITIZE)
endif
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(WARNINGS) $(HARDENING) -fPIC -pthread $(CFLAGS) \
	$(shell $(PKG_CONFIG) --cflags libcrypto p11-kit-1 jansson libxml-2.0)

LIB_LIBS = $(shell $(PKG_CONFIG) --libs libssl libcrypto p11-kit-1 jansson) -ldl -pthread
SOVERSION = 0
LIB = $(BUILD)/libkyok.so.$(SOVERSION)
LINK_KYOK = -L$(BUILD) -lkyok

lib_sources := $(wildcard common/*/*.c)
provider_sources := $(wildcard openssl-provider/*.c)
cli_sources := $(wildcard cli/*.c)
qemu_secret_sources := $(wildcard qemu-secret/*.c)
hook_sources := $(wildcard libvirt-hook/*.c)
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

unit_tests := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*_test.c))
support_libs := $(patsubst %.c,$(BUILD)/%.so,$(wildcard tests/support/*_module.c))
support_programs := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/support/*_tool.c))
bench_programs := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bench/*_bench.c))
fuzzers := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/*_fuzz.c))

products := $(LIB)
ifneq ($(provider_sources),)
products += $(BUILD)/ossl-modules/kyok.so
endif
ifneq ($(cli_sources),)
products += $(BUILD)/kyok
endif
ifneq ($(qemu_secret_sources),)
products += $(BUILD)/kyok-qemu-secret
endif
ifneq ($(hook_sources),)
products += $(BUILD)/libvirt-hook/kyok
endif

.PHONY: all
all: $(products)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# libkyok exports versioned kyok_* symbols only; executor threads may outlive a dlclose.
$(LIB): $(call objects,$(lib_sources)) common/libkyok.map
	@mkdir -p $(@D)
	$(CC) -shared $(LDFLAGS) -Wl,-soname,libkyok.so.$(SOVERSION) -Wl,--version-script=common/libkyok.map \
		-Wl,-z,nodelete,-z,relro,-z,now -Wl,--no-undefined -o $@ $(filter %.o,$^) $(LIB_LIBS)
	ln -sf libkyok.so.$(SOVERSION) $(BUILD)/libkyok.so

$(BUILD)/ossl-modules/kyok.so: $(call objects,$(provider_sources)) $(LIB)
	@mkdir -p $(@D)
	$(CC) -shared $(LDFLAGS) -Wl,-z,nodelete,-z,relro,-z,now -Wl,--no-undefined -Wl,-rpath,'$$ORIGIN/..' -o $@ \
		$(filter %.o,$^) $(LINK_KYOK) $(shell $(PKG_CONFIG) --libs libcrypto) -pthread

$(BUILD)/kyok: $(call objects,$(cli_sources)) $(LIB)
	$(CC) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN' -o $@ $(filter %.o,$^) $(LINK_KYOK) \
		$(shell $(PKG_CONFIG) --libs libcrypto jansson libxml-2.0) -pthread -ldl

$(BUILD)/kyok-qemu-secret: $(call objects,$(qemu_secret_sources)) $(LIB)
	$(CC) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN' -o $@ $(filter %.o,$^) $(LINK_KYOK) \
		$(shell $(PKG_CONFIG) --libs libcrypto jansson) -pthread -ldl

# Reads XML first and loads the rest only for a domain with a record: no libkyok, no libvirt at link.
$(BUILD)/libvirt-hook/kyok: $(call objects,$(hook_sources)) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(shell $(PKG_CONFIG) --libs libxml-2.0) -ldl

.PHONY: nginx-module
nginx-module: all
	@if [ -x nginx-module/build.sh ]; then BUILD=$(abspath $(BUILD)) nginx-module/build.sh; fi

# --- tests ---------------------------------------------------------------------------------------
# Unit tests link the library's objects, so that private functions can be tested.
$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(call objects,$(lib_sources))
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LIB_LIBS)

# The faulty HSM and its tool share the control file's code.
faulty_objects = $(call objects,tests/support/faulty_control.c tests/support/faulty_profile.c)
$(BUILD)/tests/support/faulty_module.so $(BUILD)/tests/support/faulty_tool $(BUILD)/tests/unit/faulty_test: $(faulty_objects)

$(BUILD)/tests/support/%_module.so: $(BUILD)/obj/tests/support/%_module.o
	@mkdir -p $(@D)
	$(CC) -shared $(LDFLAGS) -Wl,-Bsymbolic -o $@ $^ -ldl -pthread

$(BUILD)/tests/support/%_tool: $(BUILD)/obj/tests/support/%_tool.o $(call objects,$(lib_sources))
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIB_LIBS) $(shell $(PKG_CONFIG) --libs libxml-2.0)

$(BUILD)/tests/bench/%_bench: $(BUILD)/obj/tests/bench/%_bench.o $(call objects,$(lib_sources))
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIB_LIBS)

fuzz_sources = tests/fuzz/$*_fuzz.c
$(BUILD)/tests/fuzz/%_fuzz: tests/fuzz/%_fuzz.c $(lib_sources)
	@mkdir -p $(@D)
	clang -std=c11 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		$(shell $(PKG_CONFIG) --cflags libcrypto p11-kit-1 jansson libxml-2.0) -o $@ $^ $(LIB_LIBS)

.PHONY: tests unit
tests: all $(unit_tests) $(support_libs) $(support_programs)
unit: $(unit_tests) $(support_libs)
	prove -e '' $(unit_tests)

# kyok(1) comes from the command's tables.
.PHONY: manual
manual: $(BUILD)/kyok
	$(BUILD)/kyok manual > cli/kyok.1

.PHONY: clean
clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
.SECONDARY:

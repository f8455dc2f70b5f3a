# SPDX-License-Identifier: Apache-2.0
# kyok: see README.md. `make help` lists the targets.

PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
PKG_CONFIG ?= pkg-config
ifeq ($(origin CC),default)
CC = gcc
endif

CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
HARDENING = -fstack-protector-strong -D_FORTIFY_SOURCE=2
# SANITIZE=address,undefined or SANITIZE=thread builds everything that way.
ifneq ($(SANITIZE),)
HARDENING = -fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS += -fsanitize=$(SANITIZE)
endif
PACKAGE_CFLAGS := $(shell $(PKG_CONFIG) --cflags libcrypto p11-kit-1 jansson libxml-2.0 2>/dev/null)
# Nobody replaces a function of ours by one of the same name: the compiler may inline across -fPIC.
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(WARNINGS) $(HARDENING) -fPIC -fno-semantic-interposition -pthread \
	$(CFLAGS) $(PACKAGE_CFLAGS)

LIB_LIBS := $(shell $(PKG_CONFIG) --libs libssl libcrypto p11-kit-1 jansson 2>/dev/null) -ldl -pthread
XML_LIBS := $(shell $(PKG_CONFIG) --libs libxml-2.0 2>/dev/null)
CRYPTO_LIBS := $(shell $(PKG_CONFIG) --libs libcrypto 2>/dev/null)
VIRT_LIBS := $(shell $(PKG_CONFIG) --libs libvirt 2>/dev/null)
JANSSON_LIBS := $(shell $(PKG_CONFIG) --libs jansson 2>/dev/null)
SOVERSION = 0
LIB = $(BUILD)/libkyok.so.$(SOVERSION)
LINK_KYOK = -L$(BUILD) -lkyok

# V=1 shows the commands.
ifeq ($(V),)
Q = @
say = @printf '  %-5s %s\n' $(1) $(2);
endif

lib_sources := $(wildcard common/*/*.c)
provider_sources := $(wildcard openssl-provider/*.c)
# The command reads domain XML and the hook's configuration as the hook does, and talks to a running QEMU as kyok-qemu-secret does.
cli_sources := $(wildcard cli/*.c)
ifneq ($(cli_sources),)
cli_sources += libvirt-hook/domain.c libvirt-hook/presence.c qemu-secret/qmp.c
endif
qemu_secret_sources := $(wildcard qemu-secret/*.c)
hook_program_sources := $(filter %/main.c %/glance.c,$(wildcard libvirt-hook/*.c))
hook_sources := $(filter-out $(hook_program_sources),$(wildcard libvirt-hook/*.c))
hook_worker_sources := $(wildcard libvirt-hook/worker/*.c)
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

unit_tests := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*_test.c))
support_libs := $(patsubst %.c,$(BUILD)/%.so,$(wildcard tests/support/*_module.c))
support_programs := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/support/*_tool.c))
bench_programs := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bench/*_bench.c))
fuzzers := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/*_fuzz.c))
integration_tests := $(wildcard tests/integration/*.t)

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

# Says at once what is missing, instead of an #include that fails.
$(BUILD)/.build-needs: tests/support/packages
	@mkdir -p $(@D)
	@KYOK_SETUP=no tests/support/setup.sh build
	@touch $@

$(BUILD)/obj/%.o: %.c | $(BUILD)/.build-needs
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# libkyok exports versioned kyok_* symbols only; executor threads may outlive a dlclose.
$(LIB): $(call objects,$(lib_sources)) common/libkyok.map
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,-soname,libkyok.so.$(SOVERSION) \
		-Wl,--version-script=common/libkyok.map -Wl,-z,nodelete,-z,relro,-z,now \
		$(if $(SANITIZE),,-Wl$(comma)--no-undefined) -o $@ $(filter %.o,$^) $(LIB_LIBS)
	@ln -sf libkyok.so.$(SOVERSION) $(BUILD)/libkyok.so
comma = ,

# $(1): the RUNPATH that finds libkyok, in the build tree or where it is installed.
link_provider = $(CC) -shared $(LDFLAGS) -Wl,--version-script=openssl-provider/kyok.map -Wl,-z,nodelete,-z,relro,-z,now \
	$(if $(SANITIZE),,-Wl$(comma)--no-undefined) -Wl,-rpath,'$(1)' -o $@ $(filter %.o,$^) \
	$(LINK_KYOK) $(CRYPTO_LIBS) -pthread
link_program = $(CC) $(LDFLAGS) -Wl,-z,relro,-z,now -Wl,-rpath,'$(1)' -o $@ $(filter %.o,$^) \
	$(LINK_KYOK) $(CRYPTO_LIBS) $(JANSSON_LIBS) $(XML_LIBS) -pthread -ldl
link_hook = $(CC) $(LDFLAGS) -Wl,-z,relro,-z,now -Wl,-rpath,'$(1)' -o $@ $(filter %.o,$^) -ldl
link_hook_handler = $(CC) -shared $(LDFLAGS) -Wl,-z,relro,-z,now $(if $(SANITIZE),,-Wl$(comma)--no-undefined) \
	-Wl,-rpath,'$(1)' -o $@ $(filter %.o,$^) $(XML_LIBS) -ldl
link_hook_worker = $(CC) -shared $(LDFLAGS) -Wl,-z,relro,-z,now $(if $(SANITIZE),,-Wl$(comma)--no-undefined) \
	-Wl,-rpath,'$(1)' -o $@ $(filter %.o,$^) $(LINK_KYOK) $(CRYPTO_LIBS) $(VIRT_LIBS) -pthread

$(BUILD)/ossl-modules/kyok.so: $(call objects,$(provider_sources)) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(call link_provider,$$ORIGIN/..)

$(BUILD)/kyok: $(call objects,$(cli_sources)) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(call link_program,$$ORIGIN)

$(BUILD)/kyok-qemu-secret: $(call objects,$(qemu_secret_sources)) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(call link_program,$$ORIGIN)

# Nothing but the C library behind the program; it loads the handler (libxml2) for a domain that may
# matter, and that the worker (libkyok, libvirt) for one with a record.
$(BUILD)/libvirt-hook/kyok: $(call objects,$(hook_program_sources)) $(BUILD)/libvirt-hook/kyok-hook-handler.so \
		$(BUILD)/libvirt-hook/kyok-hook.so
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(call link_hook,$$ORIGIN)

$(BUILD)/libvirt-hook/kyok-hook-handler.so: $(call objects,$(hook_sources))
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(call link_hook_handler,$$ORIGIN)

$(BUILD)/libvirt-hook/kyok-hook.so: $(call objects,$(hook_worker_sources)) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(call link_hook_worker,$$ORIGIN/..)

# Against the distribution's nginx headers; elsewhere there is nothing to build against.
.PHONY: nginx-module
nginx-module: all
	@if [ -x nginx-module/build.sh ]; then BUILD=$(abspath $(BUILD)) LIBDIR=$(libdir) nginx-module/build.sh; fi

# --- installing ----------------------------------------------------------------------------------
# Below /usr the distribution's own folders are used; below any other PREFIX everything stays there, and
# openssl.cnf, nginx.conf and libvirt are pointed at it (the manuals say how).
libdir ?= $(PREFIX)/lib/kyok
bindir ?= $(PREFIX)/bin
mandir ?= $(PREFIX)/share/man
docdir ?= $(PREFIX)/share/doc/kyok
confdir ?= /etc/kyok
ifeq ($(PREFIX),/usr)
modulesdir ?= $(shell $(PKG_CONFIG) --variable=modulesdir libcrypto)
nginxdir ?= /usr/lib/nginx/modules
hookdir ?= /etc/libvirt/hooks/qemu.d
unitdir ?= /usr/lib/systemd/system
else
modulesdir ?= $(PREFIX)/lib/ossl-modules
nginxdir ?= $(PREFIX)/lib/nginx/modules
hookdir ?= $(PREFIX)/lib/kyok/libvirt-hook
unitdir ?= $(PREFIX)/lib/systemd/system
endif

$(BUILD)/install/kyok.so: $(call objects,$(provider_sources)) $(LIB) FORCE
	@mkdir -p $(@D)
	$(Q)$(call link_provider,$(libdir))
$(BUILD)/install/kyok: $(call objects,$(cli_sources)) $(LIB) FORCE
	@mkdir -p $(@D)
	$(Q)$(call link_program,$(libdir))
$(BUILD)/install/completion/kyok: $(BUILD)/kyok
	@mkdir -p $(@D)
	$(Q)$(BUILD)/kyok completion > $@
$(BUILD)/install/kyok-qemu-secret: $(call objects,$(qemu_secret_sources)) $(LIB) FORCE
	@mkdir -p $(@D)
	$(Q)$(call link_program,$(libdir))

$(BUILD)/install/libvirt-hook/kyok: $(call objects,$(hook_program_sources)) FORCE
	@mkdir -p $(@D)
	$(Q)$(call link_hook,$(libdir))
$(BUILD)/install/kyok-hook-handler.so: $(call objects,$(hook_sources)) FORCE
	@mkdir -p $(@D)
	$(Q)$(call link_hook_handler,$(libdir))
$(BUILD)/install/kyok-hook.so: $(call objects,$(hook_worker_sources)) $(LIB) FORCE
	@mkdir -p $(@D)
	$(Q)$(call link_hook_worker,$(libdir))

# The texts name the folders of the default PREFIX; installed, they name those that were chosen.
localise = sed -e 's|/usr/local/lib/ossl-modules|$(modulesdir)|g' -e 's|/usr/local/lib/kyok|$(libdir)|g'

# FILE=DIRECTORY, with =MODE where it is not 644; what install puts there, uninstall removes.
folders = openssl-provider nginx-module libvirt-hook qemu-secret cli common/config
installed = $(LIB)=$(libdir)
ifneq ($(provider_sources),)
installed += $(BUILD)/install/kyok.so=$(modulesdir)
endif
ifneq ($(cli_sources),)
installed += $(BUILD)/install/kyok=$(bindir)=755
installed += $(BUILD)/install/completion/kyok=$(PREFIX)/share/bash-completion/completions
endif
ifneq ($(qemu_secret_sources),)
installed += $(BUILD)/install/kyok-qemu-secret=$(bindir)=755
endif
ifneq ($(hook_sources),)
installed += $(BUILD)/install/libvirt-hook/kyok=$(hookdir)=755
installed += $(BUILD)/install/kyok-hook-handler.so=$(libdir) $(BUILD)/install/kyok-hook.so=$(libdir)
endif
installed += $(foreach f,$(wildcard $(BUILD)/nginx-module/*.so),$(f)=$(nginxdir))
installed += $(foreach n,1 5 7 8,$(foreach f,$(wildcard $(folders:%=%/*.$(n))),$(f)=$(mandir)/man$(n)))
installed += $(foreach f,$(wildcard $(folders:%=%/*.service)),$(f)=$(unitdir))
installed += $(foreach f,$(wildcard README.md docs/*.md $(foreach d,$(folders),$(d)/*.example $(d)/*.conf $(d)/*.cnf)),$(f)=$(docdir))
relinked = $(filter $(BUILD)/install/%,$(foreach i,$(installed),$(firstword $(subst =, ,$(i)))))

.PHONY: install uninstall
install: nginx-module
	@$(MAKE) --no-print-directory install-files
.PHONY: install-files
install-files: $(relinked)
	@set -e; for i in $(installed); do \
		file=$${i%%=*}; rest=$${i#*=}; dir=$${rest%%=*}; mode=644; \
		case $$rest in *=*) mode=$${rest#*=};; esac; \
		target="$(DESTDIR)$$dir/$$(basename "$$file")"; \
		install -D -m $$mode "$$file" "$$target"; \
		case $$dir in $(docdir)|$(mandir)/*) $(localise) "$$file" > "$$target";; esac; \
		echo "  $$target"; done
	@install -d $(DESTDIR)$(confdir)
	@mkdir -p $(DESTDIR)$(libdir)/ossl-modules # where libkyok looks for it: a KMIP client key in an HSM
	@ln -sf $(modulesdir)/kyok.so $(DESTDIR)$(libdir)/ossl-modules/kyok.so
# kyok's own folders go where they are empty; those that every system has stay, but not in a DESTDIR.
uninstall:
	@rm -f $(DESTDIR)$(libdir)/ossl-modules/kyok.so
	@for i in $(installed); do file=$${i%%=*}; rest=$${i#*=}; \
		rm -f "$(DESTDIR)$${rest%%=*}/$$(basename "$$file")"; done
	@for dir in $(libdir)/ossl-modules $(libdir)/libvirt-hook $(libdir) $(docdir) $(confdir) $(modulesdir); do \
		rmdir "$(DESTDIR)$$dir" 2>/dev/null || true; done
	@if [ -n "$(DESTDIR)" ]; then find "$(DESTDIR)" -depth -mindepth 1 -type d -empty -delete; fi

# --- tests ---------------------------------------------------------------------------------------
# Unit tests link the library's objects, so that private functions can be tested.
$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(call objects,$(lib_sources))
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LIB_LIBS)

# The faulty HSM and its tool share the control file's code.
faulty_objects = $(call objects,tests/support/faulty_control.c tests/support/faulty_profile.c)
$(BUILD)/tests/support/faulty_module.so $(BUILD)/tests/support/faulty_tool $(BUILD)/tests/unit/faulty_test \
	$(BUILD)/tests/unit/recovery_test $(BUILD)/tests/unit/life_hang_test: $(faulty_objects)
$(BUILD)/tests/unit/faulty_test $(BUILD)/tests/unit/recovery_test $(BUILD)/tests/unit/life_hang_test: \
	$(call objects,tests/support/faulty_member.c)
$(BUILD)/tests/support/faulty_tool: $(call objects,tests/support/faulty_value.c)
$(BUILD)/tests/support/faulty_module.so: $(patsubst %,$(BUILD)/obj/tests/support/faulty_%.o,montgomery start call token object \
	key operation)

$(BUILD)/tests/unit/work_test $(BUILD)/tests/unit/work_async_test $(BUILD)/tests/unit/work_fiber_test: \
	$(call objects,tests/support/work_step.c)

$(BUILD)/tests/unit/key_pkcs11_test $(BUILD)/tests/unit/key_find_test: $(call objects,tests/support/unit_token.c)
$(BUILD)/tests/unit/pkcs11_live_test $(BUILD)/tests/unit/pkcs11_pin_test: $(call objects,tests/support/fake_hsm.c)

# The hook's own pieces, without its main().
$(BUILD)/tests/unit/hook_%: $(BUILD)/obj/tests/unit/hook_%.o $(call objects,$(lib_sources)) \
		$(call objects,$(filter-out %/main.c,$(hook_program_sources)) $(hook_sources))
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LIB_LIBS) $(XML_LIBS)

kmip_server_objects = $(call objects,$(filter-out %_tool.c,$(wildcard tests/support/kmip_server_*.c)))
$(BUILD)/tests/support/kmip_server_tool: $(kmip_server_objects)
$(BUILD)/tests/support/provider_tool: $(call objects,tests/support/provider_key.c tests/support/provider_leave.c)
$(BUILD)/tests/support/kmip_operations_tool: \
	$(call objects,tests/support/kmip_operations_attribute.c tests/support/kmip_operations_derive.c)
kmip_group_tests = $(filter $(BUILD)/tests/unit/kmip_client% $(BUILD)/tests/unit/kmip_key_test \
	$(BUILD)/tests/unit/kmip_wait_test,$(unit_tests))
$(filter $(BUILD)/tests/unit/kmip_message%,$(unit_tests)): $(call objects,tests/support/kmip_sample.c)
$(filter $(BUILD)/tests/unit/kmip_tls%,$(unit_tests)): $(call objects,tests/support/tls_echo.c tests/support/kmip_peer.c)
$(kmip_group_tests): $(call objects,tests/support/kmip_peer.c tests/support/kmip_group.c)

$(BUILD)/tests/support/%_module.so: $(BUILD)/obj/tests/support/%_module.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,-Bsymbolic -o $@ $^ -ldl -pthread

$(BUILD)/tests/support/%_tool: $(BUILD)/obj/tests/support/%_tool.o $(call objects,$(lib_sources))
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIB_LIBS) $(XML_LIBS)

$(BUILD)/tests/bench/%_bench: $(BUILD)/obj/tests/bench/%_bench.o $(call objects,$(lib_sources))
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIB_LIBS)

# Fuzzers share one instrumented build of the library.
FUZZ_CFLAGS = -std=c11 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=undefined $(PACKAGE_CFLAGS)
fuzz_objects = $(patsubst %.c,$(BUILD)/fuzz-obj/%.o,$(lib_sources))
$(BUILD)/fuzz-obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,FUZZ,$<)
	$(Q)clang $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/tests/fuzz/%_fuzz: $(BUILD)/fuzz-obj/tests/fuzz/%_fuzz.o $(fuzz_objects)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)clang -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIB_LIBS) $(XML_LIBS)

# The hook's parser of domain XML stands outside the library, and the glance before it.
$(BUILD)/tests/fuzz/hook_%_fuzz: $(BUILD)/fuzz-obj/tests/fuzz/hook_%_fuzz.o \
		$(BUILD)/fuzz-obj/libvirt-hook/domain.o $(BUILD)/fuzz-obj/libvirt-hook/glance.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)clang -fsanitize=fuzzer,address,undefined -o $@ $^ $(XML_LIBS)

# So does the command's reader of nginx's words.
$(BUILD)/tests/fuzz/nginx_words_fuzz: $(BUILD)/fuzz-obj/tests/fuzz/nginx_words_fuzz.o \
		$(BUILD)/fuzz-obj/cli/nginx_words.o $(fuzz_objects)

# Every test runs in tests/support/run_test.sh: a time limit, a log, an environment that is known.
# JOBS=2 runs two at a time; they share nothing but the machine.
JOBS ?= 1
PROVE = BUILD=$(abspath $(BUILD)) prove --timer -j $(JOBS) -e tests/support/run_test.sh

.PHONY: tests unit check check-built check-long check-sanitize
tests: all nginx-module $(unit_tests) $(support_libs) $(support_programs)
unit: tests
	@$(PROVE) $(unit_tests)
# The unit tests whose subject has threads.
thread_tests := $(patsubst %,$(BUILD)/tests/unit/%_test,base envelope key_find key_pkcs11 kmip_client kmip_client_fault kmip_client_pool \
	kmip_key kmip_tls kmip_tls_stream kmip_wait life_hang pin_source pkcs11_live pkcs11_pin recovery stream work work_async work_fiber)
.PHONY: unit-threads
unit-threads: $(thread_tests) $(BUILD)/tests/support/faulty_module.so $(BUILD)/tests/support/kmip_server_tool
	@$(PROVE) $(thread_tests)
check:
	@tests/support/setup.sh build nginx demo check
	@$(MAKE) --no-print-directory check-built
check-built: tests
	@rm -rf $(BUILD)/tests/log
	@$(PROVE) $(unit_tests) $(integration_tests)

# The same with longer soaks: see KYOK_LONG in the tests.
check-long:
	@KYOK_LONG=1 $(MAKE) --no-print-directory check

# nginx's tests alone; valgrind has one of its own, and the soak measures memory.
.PHONY: check-nginx
check-nginx: tests
	@$(PROVE) $(filter-out %_valgrind.t %_soak.t,$(wildcard tests/integration/nginx_*.t))

# Every unit test under ASan and UBSan, those with threads under TSan, nginx with the module, provider and library
# under ASan. Two builds of their own, and three minutes of CPU for the unit tests under ASan alone.
check-sanitize:
	@tests/support/setup.sh build check
	@JOBS=$(JOBS) tests/support/sanitize.sh $(BUILD)

# --- fuzzing, bench, lint ------------------------------------------------------------------------
FUZZ_SECONDS ?= 60
.PHONY: fuzz fuzz-built
fuzz:
	@tests/support/setup.sh build fuzz
	@$(MAKE) --no-print-directory fuzz-built
fuzz-built: $(fuzzers)
	@set -e; for fuzzer in $(fuzzers); do \
		tests/support/run_fuzz.sh $$fuzzer $(FUZZ_SECONDS); done

.PHONY: bench bench-built
bench:
	@tests/support/setup.sh build nginx demo check bench
	@$(MAKE) --no-print-directory bench-built
bench-built: tests $(bench_programs)
	@BUILD=$(abspath $(BUILD)) tests/bench/bench.sh

c_sources := $(wildcard common/*/*.[ch] openssl-provider/*.[ch] cli/*.[ch] qemu-secret/*.[ch] \
	libvirt-hook/*.[ch] libvirt-hook/worker/*.[ch] tests/*/*.[ch])
scripts := $(wildcard tests/*/*.sh tests/integration/*.t demo/*.sh nginx-module/*.sh .ci/*)
.PHONY: lint lint-built
lint:
	@tests/support/setup.sh build lint
	@$(MAKE) --no-print-directory lint-built
lint-built:
	@BUILD=$(abspath $(BUILD)) FLAGS="-std=c11 -D_GNU_SOURCE -I. $(PACKAGE_CFLAGS)" \
		tests/support/lint.sh $(c_sources) $(scripts)

# --- demo ----------------------------------------------------------------------------------------
.PHONY: demo demo-stop
demo:
	@tests/support/setup.sh build nginx demo
	@$(MAKE) --no-print-directory all nginx-module $(BUILD)/tests/support/faulty_module.so \
		$(BUILD)/tests/support/faulty_tool $(BUILD)/tests/support/kmip_server_tool
	@BUILD=$(abspath $(BUILD)) demo/demo.sh
	@$(MAKE) --no-print-directory $(support_programs)
	@BUILD=$(abspath $(BUILD)) demo/vm-disk.sh
demo-stop:
	@BUILD=$(abspath $(BUILD)) demo/demo.sh stop

# kyok(1) comes from the command's tables.
.PHONY: manual
manual: $(BUILD)/kyok
	$(BUILD)/kyok manual > cli/kyok.1

.PHONY: help
help:
	@echo 'make                  build into build/ (BUILD=DIR elsewhere, V=1 shows the commands)'
	@echo 'make nginx-module     build the nginx module against the distribution'\''s nginx'
	@echo 'make install          below PREFIX=$(PREFIX) (DESTDIR=DIR for packages); make uninstall'
	@echo 'make demo             show it: as root on Debian 12 or 13 (KEEP=1 leaves it running; make demo-stop)'
	@echo 'make check            every test; as root it installs what they need'
	@echo 'make unit             unit tests alone; prove -e tests/support/run_test.sh FILE... for others'
	@echo 'make check-long       with long soaks'
	@echo 'make check-sanitize   unit tests under ASan, UBSan, TSan; nginx under ASan; a summary'
	@echo 'make fuzz             every fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS)'
	@echo 'make bench            measures beside the peers, writes docs/benchmarks.md'
	@echo 'make lint             clang-format, clang-tidy, cppcheck, shellcheck, manual pages'
	@echo 'make clean'

.PHONY: clean FORCE
clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan
FORCE:

-include $(shell find $(BUILD)/obj $(BUILD)/fuzz-obj -name '*.d' 2>/dev/null)
.SECONDARY:

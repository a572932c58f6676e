# SPDX-License-Identifier: Apache-2.0
#
# What a developer and the gate run. `make help` lists the targets; `make ci` is the
# whole gate, and nothing else decides.
#
#   PYTHON   makes the virtual environment (python3)
#   VENV     the environment to make and use (.venv); what is missing is installed
#   CC       the C compiler
#   CLANG    another one, for libFuzzer alone
#   JOBS     compilations at a time
#
# The C targets need make and a compiler, nothing more. Each variant of the flags has
# its own folder under build/, and objects follow their headers and this file.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
MINUTES ?= 20
SECONDS ?= 30
SEED ?= 1
TARGET ?= directory
LEDGER ?= build/fuzz-ledger
CLANG ?= $(firstword $(notdir $(wildcard $(addsuffix /clang,$(subst :, ,$(PATH))) \
	$(addsuffix /clang-[1-9]*,$(subst :, ,$(PATH))))))

BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
MAKEFLAGS += --no-builtin-rules
BUILD_C = $(MAKE) --no-print-directory --jobs=$(JOBS) --keep-going

ENGINE := $(sort $(wildcard csrc/*/*.c))
UNIT := tests/c/runner.c $(sort $(wildcard tests/c/test_*.c))
THREADED := tests/c/runner.c \
	$(shell grep -lE 'lsm_thread_start|pthread_create|lsmkv_open' tests/c/test_*.c)
STRESS := $(sort $(wildcard tests/c/stress*.c))
CRASH := $(sort $(wildcard tests/crash/*.c))
FUZZ := $(sort $(wildcard tests/fuzz/*.c))
# With the main function of ours or of libFuzzer.
fuzz_program = $(filter-out $(if $(filter libfuzzer,$(1)),%/fuzz.c,%/libfuzzer.c),$(FUZZ))
C_SOURCES := $(ENGINE) $(sort $(wildcard tests/c/*.c)) $(CRASH) $(FUZZ)
C_HEADERS := $(sort $(wildcard csrc/*/*.h tests/c/*.h tests/crash/*.h tests/fuzz/*.h \
	tests/tidy/*.h))
PYTHON_SOURCES := lsmkv tests bench setup.py

# C

CPPFLAGS = -D_GNU_SOURCE -DLSMKV_TESTING -Icsrc
CFLAGS = -std=c11 -g -pthread -fvisibility=hidden
WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
	-Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wcast-qual \
	-Wwrite-strings -Wswitch-enum -Werror
SANITIZER = -fno-omit-frame-pointer -fno-sanitize-recover=all

VARIANTS := strict asan tsan coverage fuzz fuzz-fast libfuzzer
FLAGS_strict = -O2 $(WARNINGS)
FLAGS_asan = -O1 -DLSMKV_DEBUG $(SANITIZER) -fsanitize=address,undefined
FLAGS_tsan = -O2 $(SANITIZER) -fsanitize=thread
FLAGS_coverage = -O0 -fprofile-update=atomic --coverage -Wl,-u,__gcov_dump
# What measures is not measured.
TESTS_coverage = strict
FLAGS_fuzz = $(FLAGS_asan) -fsanitize-coverage=trace-pc
FLAGS_fuzz-fast = -O2 -DLSMKV_DEBUG -fsanitize-coverage=trace-pc
FLAGS_libfuzzer = $(FLAGS_asan) -fsanitize=fuzzer-no-link
LINK_libfuzzer = -fsanitize=fuzzer
CC_libfuzzer = $(CLANG)

export ASAN_OPTIONS ?= detect_leaks=1:allocator_may_return_null=1
export UBSAN_OPTIONS ?= print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS ?= halt_on_error=1:second_deadlock_stack=1

# The engine in this variant, and sources of a test.
objects = $(patsubst %.c,build/$(1)/%.o,$(ENGINE)) \
	$(patsubst %.c,build/$(or $(TESTS_$(1)),$(1))/%.o,$(2))

define variant
build/$(1)/%.o: %.c Makefile
	@mkdir -p $$(@D)
	@echo "$(1): $$<"
	@$$(or $$(CC_$(1)),$$(CC)) $$(CPPFLAGS) $$(CFLAGS) $$(FLAGS_$(1)) -MMD -MP \
	-c $$< -o $$@

build/$(1)/unit: $(call objects,$(1),$(UNIT))
build/$(1)/threaded: $(call objects,$(1),$(THREADED))
build/$(1)/stress: $(call objects,$(1),$(STRESS))
build/$(1)/crash: $(call objects,$(1),$(CRASH))
build/$(1)/fuzz: $(call objects,$(1),$(call fuzz_program,$(1)))
build/$(1)/fuzz-unchecked: build/$(1)/unchecked.o \
	$(filter-out %/base/xxh3.o,$(call objects,$(1),$(call fuzz_program,$(1))))
build/$(1)/unchecked.o: csrc/base/xxh3.c Makefile $(C_HEADERS)
	@$$(or $$(CC_$(1)),$$(CC)) $$(CPPFLAGS) -DLSMKV_FUZZING $$(CFLAGS) \
	$$(FLAGS_$(1)) -c $$< -o $$@

build/$(1)/unit build/$(1)/threaded build/$(1)/stress build/$(1)/crash \
		build/$(1)/fuzz build/$(1)/fuzz-unchecked:
	@echo "$(1): $$@"
	@$$(or $$(CC_$(1)),$$(CC)) $$(CFLAGS) $$(FLAGS_$(1)) $$(LINK_$(1)) $$^ -lm -o $$@
endef
$(foreach name,$(VARIANTS),$(eval $(call variant,$(name))))
-include $(foreach name,$(VARIANTS),$(patsubst %.c,build/$(name)/%.d,$(C_SOURCES)))

.PHONY: c-test asan tsan stress coverage fuzz libfuzzer fuzz-campaign
c-test: ## the C unit tests, compiled with every warning as an error
	@$(BUILD_C) build/strict/unit build/strict/stress build/strict/crash build/strict/fuzz
	build/strict/unit

asan: ## the C unit tests under the address and undefined-behaviour sanitizers
	@$(BUILD_C) build/asan/unit
	build/asan/unit

tsan: ## the C unit tests that start threads under the thread sanitizer
	@$(BUILD_C) build/tsan/threaded
	build/tsan/threaded

stress: ## all calls from many threads under the thread sanitizer: SECONDS=, SEED=
	@$(BUILD_C) build/tsan/stress
	@rm -rf build/tsan/stress-db && mkdir -p build/tsan/stress-db
	build/tsan/stress --dir build/tsan/stress-db --seconds $(SECONDS) --seed $(SEED)

FUZZ_PROGRAMS := $(foreach name,fuzz fuzz-fast,build/$(name)/fuzz build/$(name)/fuzz-unchecked)
fuzz: ## hostile bytes for one target under the sanitizers: TARGET=, SECONDS=, SEED=
	@$(BUILD_C) build/fuzz/fuzz build/fuzz/fuzz-unchecked
	@mkdir -p build/fuzz-corpus/failures build/fuzz-corpus/$(TARGET)
	for program in fuzz fuzz-unchecked; do build/fuzz/$$program $(TARGET) \
	--seconds $(SECONDS) --seed $(SEED) --save build/fuzz-corpus/$(TARGET) \
	--failures build/fuzz-corpus/failures tests/fuzz/corpus/$(TARGET) \
	build/fuzz-corpus/$(TARGET) || exit 1; done

libfuzzer: ## the same by clang's libFuzzer, where there is one: TARGET=, SECONDS=, SEED=
	@test -n "$(CLANG)" || { echo "libFuzzer comes with clang, and none is found:" \
	"install clang and its compiler-rt, or name one with CLANG="; exit 1; }
	@$(BUILD_C) build/libfuzzer/fuzz build/libfuzzer/fuzz-unchecked
	@mkdir -p build/fuzz-corpus/failures build/fuzz-corpus/$(TARGET)
	for program in fuzz fuzz-unchecked; do FUZZ_TARGET=$(TARGET) \
	FUZZ_FAILURES=build/fuzz-corpus/failures build/libfuzzer/$$program \
	-max_total_time=$(SECONDS) -seed=$(SEED) -print_final_stats=1 \
	-artifact_prefix=build/fuzz-corpus/failures/ build/fuzz-corpus/$(TARGET) \
	tests/fuzz/corpus/$(TARGET) || exit 1; done

fuzz-campaign: ## once round all targets and builds: SECONDS= for each, LEDGER=, SEED=
	@$(BUILD_C) $(FUZZ_PROGRAMS)
	tests/fuzz/campaign.sh $(SECONDS) $(LEDGER) $(SEED)

coverage: ## lines and branches that the C unit tests and the crash program reach
	@$(BUILD_C) build/coverage/unit build/coverage/crash build/coverage/fuzz
	@find build/coverage -name '*.gcda' -delete
	@$(BUILD_C) --output-sync cover-unit cover-sweeps
	$(PYTHON) tests/c_coverage.py

# Beside each other: what they reached is added up under locks on the files.
.PHONY: cover-unit cover-sweeps
cover-unit:
	build/coverage/unit

cover-sweeps:
	build/coverage/crash steps --stride 97
	build/coverage/crash sim --seeds 1..10
	build/coverage/crash faults --seeds 1..10
	build/coverage/crash alloc --stride 97
	build/coverage/crash errors --stride 499
	build/coverage/crash damage --stride 1999
	build/coverage/fuzz inspect --runs 30000 --limit 60 tests/fuzz/corpus/inspect

# Python

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Compiled again when the engine changed.
$(VENV)/installed: $(ENGINE) $(C_HEADERS) $(wildcard lsmkv/*.pxd lsmkv/*.pyx) \
		pyproject.toml setup.py | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

# The packages of an extra, without compiling the project for them once more.
$(VENV)/extra-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", \
	"rb"))["project"]["optional-dependencies"]["$*"], sep="\n")' > $@.partial
	$(BIN)/pip install --quiet --disable-pip-version-check -r $@.partial
	@mv $@.partial $@

.PHONY: build test soak bench
build: $(VENV)/installed ## compile the extension and install it, editable, into VENV

test: $(VENV)/installed ## all tests; ARGS= goes to pytest
	$(BIN)/python -m pytest $(ARGS)

soak: $(VENV)/installed ## crash, model, kill and stress tests with new seeds: MINUTES=
	$(BIN)/python tests/soak.py --minutes $(MINUTES) $(ARGS)

bench: $(VENV)/installed $(VENV)/extra-bench ## side by side with the peers; ARGS=
	$(BIN)/python bench/run.py $(ARGS)

# Form

.PHONY: lint lint-python lint-types lint-format lint-c lint-spelling docs format
lint: ## everything that reads the sources: the targets lint-*
	@$(MAKE) --no-print-directory --keep-going \
	lint-python lint-types lint-format lint-spelling lint-c

lint-python: $(VENV)/extra-lint ## ruff and cython-lint
	$(BIN)/ruff check $(PYTHON_SOURCES)
	$(BIN)/ruff format --check $(PYTHON_SOURCES)
	$(BIN)/cython-lint --max-line-length 88 $(wildcard lsmkv/*.pyx lsmkv/*.pxd)

lint-types: $(VENV)/installed $(VENV)/extra-lint ## mypy and stubtest
	$(BIN)/mypy
	$(BIN)/stubtest $(patsubst lsmkv/%.pyx,lsmkv.%,$(wildcard lsmkv/*.pyx)) \
	--mypy-config-file tests/typing/stubtest.ini \
	--allowlist tests/typing/stubtest_allowlist.txt

lint-format: $(VENV)/extra-lint ## clang-format
	$(BIN)/clang-format --dry-run --Werror $(C_SOURCES) $(C_HEADERS)

lint-spelling: $(VENV)/extra-lint ## codespell
	$(BIN)/codespell

lint-c: $(VENV)/extra-lint ## clang-tidy, clang's analysis of locks: ANALYZER_NODES=
	@$(BUILD_C) $(patsubst %.c,build/tidy/%.ok,$(C_SOURCES))

# How far the analyzer follows one function: clang's own 225000 takes five times as long.
ANALYZER_NODES ?= 30000

build/tidy/%.ok: %.c $(C_HEADERS) .clang-tidy $(wildcard $(BIN)/clang-tidy)
	@mkdir -p $(@D)
	@$(BIN)/clang-tidy --quiet $< -- -std=c11 $(CPPFLAGS) -I$(<D) \
	$(if $(filter %/status.c,$<),,-include tests/tidy/analyzer.h) \
	-Xclang -analyzer-config -Xclang max-nodes=$(ANALYZER_NODES) \
	-Wall -Wextra -Wthread-safety 2>$@.log || { cat $@.log; exit 1; }
	@touch $@

docs: $(VENV)/installed ## the links and file names in the documents
	$(BIN)/python -m pytest tests/tidy/test_docs.py

format: $(VENV)/extra-lint ## rewrite the sources in the project's format
	$(BIN)/clang-format -i $(C_SOURCES) $(C_HEADERS)
	$(BIN)/ruff check --fix $(PYTHON_SOURCES)
	$(BIN)/ruff format $(PYTHON_SOURCES)

# All

.PHONY: ci clean help
ci: ## the gate, as it runs for every submission
	bash .ci/run

clean: ## remove what was built; VENV stays
	rm -rf build dist *.egg-info lsmkv/*.so .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' Makefile

.DEFAULT_GOAL := help

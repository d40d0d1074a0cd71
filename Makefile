# Every target is one line in `make help`. What a target can't do on this
# machine it says aloud, with the reason; `make test` counts those.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GOLANGCI := v2.15.0
STATE    ?= build/node/state
SOCKET   ?= build/node/blixard.sock
PREFIX   ?= /usr/local
KERNEL   := build/kernel
TOOLS    := $(CURDIR)/build/tools
RELEASE  := $(shell git describe --tags --exact-match 2>/dev/null)
GOBUILD   = CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.release=$(RELEASE)'
TALLY     = go run ./test/tally -into build/tally
UNIT      = $$(go list ./... | grep -v '/test/')
export BLIXARD_BIN := $(CURDIR)/bin/blixard
export BLIXARD_GUEST := $(CURDIR)/build/guest/images
export BLIXARD_DEBIAN := $(CURDIR)/build/debian/guest.raw
export PATH := $(TOOLS):$(PATH)

.PHONY: help setup setup-test build install uninstall run demo test unit race arch store-crash lint gen sim chaos scenarios bench fuzz cover doctor ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install QEMU and unpack a kernel package below build/ (root, Debian; quick when done)
	@.ci/setup run

setup-test: ## install what only tests need, and build a Debian guest below build/ (once, a minute)
	@.ci/setup test

build: ## static binaries in bin/, and the built-in guest where a kernel is there
	@mkdir -p bin
	$(GOBUILD) -o bin/blixard ./cmd/blixard
	$(GOBUILD) -o bin/blixard-init ./cmd/blixard-init
	$(GOBUILD) -o bin/blixard-vmm ./cmd/blixard-vmm
	@if [ -d $(KERNEL)/boot ]; then BLIXARD_STATE_DIR=build/guest bin/blixard image build --kernel-root $(KERNEL); \
	else echo "skipped: the built-in guest, because no kernel is unpacked in $(KERNEL) (make setup)"; fi

install: ## the built binaries, units, completions and manual pages (PREFIX=/usr/local, DESTDIR=)
	@cmd/blixard/install/install install '$(DESTDIR)' '$(PREFIX)'

uninstall: ## remove what install put there; state, VMs and a changed configuration stay
	@cmd/blixard/install/install uninstall '$(DESTDIR)' '$(PREFIX)'

run: setup build ## set up, then run a node in the foreground (STATE=, SOCKET=)
	@mkdir -p $(STATE) $(dir $(SOCKET))
	@BLIXARD_STATE_DIR=$(STATE) bin/blixard image build --kernel-root $(KERNEL)
	@echo 'a node in the foreground; from another shell: export BLIXARD_SOCKET=$(abspath $(SOCKET))'
	@exec bin/blixard daemon --state-dir $(STATE) --socket $(SOCKET)

demo: setup build ## the whole story on a scratch node, in about a minute
	@.ci/demo

test: ## everything that CI runs
	@.ci/run

unit: ## tests beside the code, as it ships (no cgo)
	@CGO_ENABLED=0 $(TALLY) -name unit -- -timeout 5m $(UNIT)

race: ## the same tests under the race detector, but for the guest's boots, which run no code of ours at once
	@if command -v gcc >/dev/null; then $(TALLY) -name race -- -race -timeout 5m $$(go list ./... | grep -v '/test/\|/host/image$$'); \
	else echo 'skipped: race, because there is no C compiler (make setup-test)'; fi

arch: ## house rules: import arrows, library homes, banned calls, lengths, words
	@$(TALLY) -name arch -- -count=1 ./test/arch

store-crash: ## the store, cut at every sync, rename and remove
	@$(TALLY) -name store-crash -- -count=1 -run 'Crash|Cut' ./persistence

lint: $(TOOLS)/golangci-lint-$(GOLANGCI) ## golangci-lint, gofumpt, go vet, shellcheck
	@$< run ./...
	@$< fmt --diff ./...
	@if command -v shellcheck >/dev/null; then shellcheck cmd/blixard/install/install .ci/setup .ci/debian-guest .ci/run $$(test ! -e .ci/demo || echo .ci/demo); \
	else echo 'skipped: shellcheck, because it is not installed (make setup-test)'; fi

$(TOOLS)/golangci-lint-$(GOLANGCI):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	@mv $(TOOLS)/golangci-lint $@

gen: ## write the generated files anew: protobuf, docs, goldens
	go generate ./...

sim: ## simulated nodes: SEED=n replays one seed, SEEDS=n runs that many
	@BLIXARD_SEED=$(SEED) BLIXARD_SEEDS=$(SEEDS) $(TALLY) -name sim -- -count=1 -timeout 15m ./test/sim/...

chaos: setup setup-test build ## every scenario on real QEMU and on machines with a systemd of their own
	@BLIXARD_CHAOS=all $(TALLY) -name chaos -- -count=1 -timeout 60m -p 1 ./test/node ./test/chaos/... ./test/service

scenarios: ## the scenarios that CI has time for
	@$(TALLY) -name scenarios -- -count=1 -timeout 15m -p 1 ./test/node ./test/chaos/... ./test/service

bench: setup build ## figures beside their floor and peers, also in build/bench.txt
	@.ci/setup bench || echo 'skipped: systemd as a peer, because systemd-nspawn is not there'
	@go run ./test/bench $(BENCH) | tee build/bench.txt

fuzz: ## every fuzz target for FUZZTIME (10s)
	@for p in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-10s} $$p; done; done

cover: ## statement coverage of the tests beside the code
	@mkdir -p build
	@go test -coverprofile build/cover.out $(UNIT)
	@go tool cover -func build/cover.out | tail -1

doctor: ## what this machine can and can't do for a node
	@echo "go        $$(go version | cut -d' ' -f3)"
	@echo "qemu      $$(qemu-system-x86_64 --version 2>/dev/null | head -1 || true)"
	@echo "kernel    $$(ls $(KERNEL)/boot/vmlinuz-* 2>/dev/null || echo 'none unpacked: make setup')"
	@echo "kvm       $$(test -w /dev/kvm && echo 'openable; the node probes whether guests boot' || echo 'no: TCG')"
	@echo "launcher  $$(test -d /run/systemd/system && echo systemd || echo process)"
	@echo "cgroup    $$(stat -fc %T /sys/fs/cgroup 2>/dev/null || echo none)"
	@for tool in gcc promtool shellcheck jq curl systemd-nspawn; do \
	  printf '%-9s %s\n' $$tool "$$(command -v $$tool || echo 'not installed')"; done

ci: test ## the same as test

clean: ## remove bin/ and build/
	rm -rf bin build

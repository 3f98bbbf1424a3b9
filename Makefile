# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
INIT    := internal/engine/process/embedded/tide-init
FILES   := internal/files/embedded/tide-files.gz
# Of the end-to-end stories two run at a time: each is a whole platform, and waits for most of its time.
STORIES := /(cmd/tide|test/[a-z]+)$$
# The longest begin first, so that neither is left alone in the end. They test a binary that
# they have built, of which go test knows nothing: -count=1, as for those on a cluster.
LONGEST := ./test/state ./test/torture
SOURCES := $(shell find . -name '*.go' -not -path './examples/*' -not -name '*_test.go') $(shell find internal -name '*.sql') go.mod go.sum

.PHONY: help build image init setup demo test test-kubernetes kubernetes check lint format fuzz bench-data bench-deploy bench-edge bench-idle bench-jobs bench-kubernetes bench-scale bench-surge clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

build: bin/tide ## the binary, bin/tide

init: $(INIT) $(FILES) ## the programs that are embedded in the binary

$(INIT): $(wildcard internal/engine/process/init/*.go internal/engine/process/order/*.go internal/engine/process/children/*.go internal/redact/*.go) go.mod
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o $@ ./internal/engine/process/init

# Compressed: few platforms unpack it. Without the commit: it is another version only if it differs.
$(FILES): $(wildcard *.go internal/files/*.go internal/files/gateway/*.go internal/files/program/*.go internal/durable/*.go) go.mod
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o bin/tide-files ./internal/files/program
	gzip -9nc bin/tide-files > bin/tide-files.gz && mv bin/tide-files.gz $@

bin/tide: $(INIT) $(FILES) $(SOURCES)
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w -X main.version=$(VERSION)' -o $@ ./cmd/tide

image: build ## a container image of bin/tide, in bin/tide.tar; ARGS="-push REGISTRY/NAME:TAG -base golang:1.26"
	go run ./deploy/image -tide bin/tide $(or $(ARGS),-file bin/tide.tar)

setup: ## installs what the tests need (Debian, as root)
	@./deploy/setup.sh test

demo: ## brings the quiz up, loads it x20, deploys, kills; KEEP=1 stays up
	@./deploy/setup.sh
	$(MAKE) --no-print-directory build
	go run ./bench/demo -tide bin/tide -app examples/quiz $(if $(KEEP),-keep)

# The tests are of real servers and processes, and the machine may stand still for seconds:
# a test that fails is run once again, whole and alone, and has to pass then. It is shown as
# failed nevertheless, at the end. More than two, a race or a panic are not run again.
TESTS := $(CURDIR)/bin/gotestsum --format=pkgname-and-test-fails --format-icons=text --hide-summary=skipped \
	--rerun-fails=1 --rerun-fails-max-failures=2 --rerun-fails-run-root-test --rerun-fails-abort-on-data-race

bin/gotestsum: tools/go.mod
	CGO_ENABLED=0 go build -trimpath -modfile=tools/go.mod -o $@ gotest.tools/gotestsum

# What is vetted is compiled for it: as the tests are, once. They need not be vetted again,
# nor linked with what only a debugger reads. The modules of their own share what tide is
# built of.
test: setup build bin/gotestsum ## all tests: unit, conformance, end to end; those on a cluster are apart
	go vet -race ./...
	$(TESTS) --packages="$$(go list ./... | grep -vE '$(STORIES)' | paste -sd ' ')" -- -race -vet=off -ldflags=-w -shuffle=on -timeout 20m
	$(TESTS) --packages="$(LONGEST) $$(go list ./... | grep -E '$(STORIES)' | paste -sd ' ')" -- -race -vet=off -ldflags=-w -count=1 -p 2 -timeout 30m
	cd bench/jobs && CGO_ENABLED=0 go vet -trimpath .
	cd bench/scale && export CGO_ENABLED=0 && go vet -trimpath . && go test -trimpath -vet=off .
	cd test/parsers && export CGO_ENABLED=0 && go vet -trimpath . && go test -trimpath -vet=off .
	cd examples/quiz && go vet -race ./... && go test -race -vet=off ./...
	cd examples/node && node --test
	cd examples/python && python3 -m unittest -q
	cd examples/django && /usr/bin/python3 manage.py test
	cd examples/worker-go && go vet -race ./... && go test -race -vet=off ./...
	cd examples/worker-node && node --test
	cd examples/worker-python && python3 -m unittest -q

# With the flags that tide is built with: what both are made of is compiled once.
test-kubernetes: init kubernetes bin/gotestsum ## the tests on a real Kubernetes of two nodes, on this machine; KUBERNETES=1.37
	@./deploy/setup.sh test-kubernetes
	cd deploy/kubernetes/rendered && CGO_ENABLED=0 go test -trimpath -vet=off .
	cd test/kubernetes && CGO_ENABLED=0 $(TESTS) --packages=./... -- -trimpath -vet=off -count=1 -parallel 6 -timeout 45m

kubernetes: ## that Kubernetes, and its tests vetted; two processors take twelve minutes for it, the first time
	cd test/kubernetes && CGO_ENABLED=0 go run -trimpath ./programs
	cd deploy/kubernetes/rendered && CGO_ENABLED=0 go vet -trimpath .
	cd test/kubernetes && CGO_ENABLED=0 go vet -trimpath ./...

check: test lint ## the tests, and the linters
	go mod tidy -e -diff

# The linter is pinned by a module of its own, so that its dependencies are not
# ours. Building it takes minutes, the first time.
lint: ## the linters; see .golangci.yml
	nice go tool -modfile=tools/go.mod golangci-lint run ./...

format: ## gofumpt and gci
	nice go tool -modfile=tools/go.mod golangci-lint fmt

fuzz: ## every fuzz target for 20 seconds
	@for package in $$(grep -rl --include=*_test.go '^func Fuzz' internal | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -rhoE '^func Fuzz[A-Za-z0-9]+' $$package | awk '{print $$2}'); do \
			echo "$$package $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime 20s ./$$package; done; done
	cd test/parsers && go test -run '^$$' -fuzz . -fuzztime 20s .

bench-data: build ## backups and restores beside pg_basebackup, pgBackRest and restic; BENCH="-quick -json"
	@./deploy/setup.sh test && ./deploy/setup.sh bench-data
	go run ./bench/data -tide bin/tide $(BENCH)

bench-deploy: build ## failed requests per deploy, ms beyond build and app start; BENCH=-quick
	go run ./bench/deploy -tide bin/tide -app examples/quiz $(BENCH)

bench-edge: build ## the edge beside nginx, HAProxy, Varnish, Caddy and ReverseProxy; BENCH="-quick -json"
	@./deploy/setup.sh bench-edge
	go run ./bench/edge -tide bin/tide $(BENCH)

bench-idle: build ## memory and CPU of the idle platform, 0 to 100 apps; BENCH="-quick -json"
	go run ./bench/idle -tide bin/tide $(BENCH)

bench-jobs: ## the ledger beside River, asynq and a poller; BENCH="-quick -json -kill"
	@./deploy/setup.sh bench
	cd bench/jobs && go run . $(BENCH)

bench-kubernetes: init ## the engine for Kubernetes, and the whole control plane, with 1,000 to 10,000 simulated pods; BENCH="-quick -json"
	go run ./bench/kubernetes $(BENCH)

bench-scale: ## laws of scaling beside each other, on traces; BENCH="-quick -json"
	cd bench/scale && go run . $(BENCH)

bench-surge: build ## the platform under a real x20 step, beside a fixed number and the HPA's law; BENCH="-quick -json"
	go run ./bench/surge -tide bin/tide $(BENCH)

clean: ## removes what was built
	rm -rf bin $(INIT) $(FILES)

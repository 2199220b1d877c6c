# warren: build, test and measure. "make" lists the targets; "make test" is what CI runs.
#
# Tools are pinned here and in web/package-lock.json, and nowhere else.
GOLANGCI_LINT_VERSION := v2.15.0
GOTESTSUM_VERSION     := v1.13.0
CYCLONEDX_VERSION     := v1.10.0
CENTRIFUGO_VERSION    := v6.9.1

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help
# The parts of "test" run one after the other: two test suites at once starve each other's time limits.
.NOTPARALLEL:

GO      ?= go
MODULE  := github.com/warren-gateway/warren
TOOLS   := $(CURDIR)/bin/tools
LINT    := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
TESTSUM := $(TOOLS)/gotestsum-$(GOTESTSUM_VERSION)
CDX     := $(TOOLS)/cyclonedx-gomod-$(CYCLONEDX_VERSION)
WARREN  := $(CURDIR)/bin/warren
NPM     := web/node_modules/.package-lock.json

# The date is the commit's, so that the same commit always gives the same binary.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

# To be set on the command line: make unit PKG=./broker/... ; make fuzz FUZZTIME=1m ; make bench ARGS=…
PKG      ?= ./...
FUZZTIME ?= 10s
SOAKTIME ?= 10m
ARGS     ?=

# Tests that need RabbitMQ are those of packages which import rabbittest; they need no build tag. rabbitnode starts one private node
# for all of them.
RABBITTEST   := $(MODULE)/broker/rabbitmq/rabbittest
RABBITNODE   := $(TOOLS)/rabbitnode
IMPORTS      := {{.ImportPath}} {{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}} |
# "make lint" alone vets: golangci-lint has all that "go vet" has.
GOTEST       := $(TESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg -- -race -vet=off -timeout 10m

# Of those the ones that load the machine or look at the clock run alone, the others, which mostly wait, three at a time, and the
# longest first, so that none is left alone at the end.
ALONE        := cmd\/warren[ ]
LONGEST      := (broker\/rabbitmq|cmd\/conformance|conformance\/readers|cmd\/faults|warren\/transport)[ ]

# $(call test-packages,CONDITION,COMMAND,FLAGS) tests those of PKG for which the awk condition holds, under COMMAND.
define test-packages
packages="$$($(GO) list -f '$(IMPORTS)' $(PKG) | awk '$(1) { print /^[^ ]*$(LONGEST)/ ? 0 : 1, $$1 }' | sort -s -n | cut -d' ' -f2)"; \
if [ -n "$$packages" ]; then $(2) $(GOTEST) $(3) $(ARGS) $$packages; else echo "none of $(PKG)"; fi
endef
USES_RABBIT := /$(subst /,\/,$(RABBITTEST))[ \/]/

# What tests that drive the binary, and browsers, are told.
export WARREN_TEST_BINARY   := $(WARREN)
export WARREN_TEST_CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
# In which pages are tested in half the time; whoever names a browser has that one.
export WARREN_TEST_HEADLESS_SHELL ?= $(if $(filter file,$(origin WARREN_TEST_CHROMIUM)),$(shell command -v chromium-headless-shell))

JS_TESTS      = $(shell find web -name node_modules -prune -o -name '*.test.js' -not -name '*.browser.test.js' -print)
BROWSER_TESTS = $(shell find web -name node_modules -prune -o -name '*.browser.test.js' -print)

# Those that count frames a second have the machine to themselves.
SPEED_TESTS   = $(filter %/speed.browser.test.js,$(BROWSER_TESTS))
BROWSE        = $(RABBITNODE) -- node --test --test-reporter=spec --test-timeout=600000 --test-concurrency

##@ Use
.PHONY: help build run
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/warren, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(WARREN) ./cmd/warren

run: build ## build and serve with demo messages, without RabbitMQ, on http://localhost:8080
	$(WARREN) serve --demo $(ARGS)

##@ Test
.PHONY: test deps lint unit integration conformance js browser fuzz
test: deps lint build unit integration js browser ## everything that CI checks (below 15 minutes on two cores, once all is compiled)
	@echo "== all passed"

deps: ## install what the tests need: Debian packages (as root), npm packages; or say what is missing
	@.ci/deps
	@$(MAKE) $(NPM)

# With the flags of the tests, since golangci-lint compiles all that they need: this makes "unit" two minutes shorter. It works
# without a C compiler too, which the race detector needs.
lint: RACE = $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)
lint: $(LINT) $(NPM) ## Go code, layer rules, go.mod, specifications
	@echo "== lint"
	GOFLAGS="$$($(GO) env GOFLAGS) $(RACE)" $(LINT) run
	$(GO) test $(RACE) -vet=off -count=1 ./broker/layers_test.go
	$(GO) mod tidy -diff
	cd web && npm run --silent lint:spec

unit: $(TESTSUM) ## Go tests that need no RabbitMQ, with the race detector
	@echo "== unit"
	@$(call test-packages,!$(USES_RABBIT),)

integration: build $(TESTSUM) $(RABBITNODE) ## Go tests against a real RabbitMQ that is started for them, with the race detector
	@echo "== integration"
	@$(call test-packages,$(USES_RABBIT) && !/^[^ ]*$(ALONE)/,$(RABBITNODE) --,-p 3)
	@$(call test-packages,$(USES_RABBIT) && /^[^ ]*$(ALONE)/,$(RABBITNODE) --,-p 1)

conformance: build $(TESTSUM) $(RABBITNODE) ## the contract from outside, against the binary (part of integration)
	@echo "== conformance"
	$(RABBITNODE) -- $(GOTEST) $(ARGS) ./cmd/conformance/...

js: build $(NPM) $(RABBITNODE) ## tests of the JavaScript client in Node
	@echo "== js"
	$(if $(JS_TESTS),$(RABBITNODE) -- node --test --test-reporter=spec --test-timeout=300000 --test-concurrency=3 $(ARGS) $(JS_TESTS),@echo "no file web/**/*.test.js")

browser: build $(NPM) $(RABBITNODE) ## tests of client and inspector in Chromium
	@echo "== browser"
	$(if $(BROWSER_TESTS),$(BROWSE)=2 $(ARGS) $(filter-out $(SPEED_TESTS),$(BROWSER_TESTS)),@echo "no file web/**/*.browser.test.js")
	$(if $(SPEED_TESTS),$(BROWSE)=1 $(ARGS) $(SPEED_TESTS))

fuzz: ## each fuzz target for FUZZTIME=10s
	@.ci/fuzz $(FUZZTIME)

##@ Measure and break
.PHONY: microbench bench peers faults soak
microbench: ## Go benchmarks of PKG=./... with allocations
	$(GO) test -run '^$$' -bench . -benchmem $(ARGS) $(PKG)

bench: build ## gateway and peers side by side; flags by ARGS=
	PATH="$(TOOLS):$$PATH" $(GO) run ./cmd/bench $(ARGS)

peers: ## build the peer that Debian does not package, Centrifugo, for "make bench" (some four minutes)
	$(INSTALL) github.com/centrifugal/centrifugo/v6@$(CENTRIFUGO_VERSION)

faults: build ## the whole fault matrix against real processes; flags by ARGS=
	$(GO) run ./cmd/faults $(ARGS)

soak: build ## mixed load with random faults for SOAKTIME=10m
	$(GO) run ./cmd/faults -soak $(SOAKTIME) $(ARGS)

##@ Publish
.PHONY: release
release: $(CDX) ## dist/: reproducible archives for Linux, macOS and Windows on amd64 and arm64, SBOMs, checksums
	rm -rf dist
	$(GO) run ./cmd/release --version '$(VERSION)' --date '$(DATE)' --ldflags '$(LDFLAGS)' --cyclonedx-gomod $(CDX)
	cat dist/SHA256SUMS

##@ Keep house
.PHONY: fmt screenshots clean
fmt: $(LINT) ## format the Go code as lint wants it
	$(LINT) fmt

screenshots: build $(NPM) ## make docs/images from the running page (the fonts are fonts-inter and fonts-jetbrains-mono, where installed)
	node web/browser/screenshots.mjs

clean: ## remove what was built and installed here
	rm -rf bin dist coverage.out web/node_modules

# The version is part of the name, so that a new pin installs a new tool. Built as "make build" builds, the tools share with it
# what both are made of. Without symbols, and with a compiler that collects less, the linter takes 173 s of two cores and not 195.
INSTALL := CGO_ENABLED=0 GOBIN=$(TOOLS) $(GO) install -trimpath
$(LINT):
	GOGC=400 $(INSTALL) -ldflags '-s -w' github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(TOOLS)/golangci-lint $@

$(TESTSUM):
	$(INSTALL) gotest.tools/gotestsum@$(GOTESTSUM_VERSION)
	mv $(TOOLS)/gotestsum $@

# -trimpath is needed here: the SBOMs have its checksum.
$(CDX):
	$(INSTALL) github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION)
	mv $(TOOLS)/cyclonedx-gomod $@

# Always built: the go command knows best whether it is current.
.PHONY: $(RABBITNODE)
$(RABBITNODE):
	@CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./broker/rabbitmq/rabbittest/cmd/rabbitnode

$(NPM): web/package-lock.json
	cd web && npm ci --ignore-scripts

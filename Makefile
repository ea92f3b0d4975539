# `make` prints what there is. All of it needs Go, a C compiler (for the race detector), make and bash.

include versions.mk

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

IMAGE ?= gridlatch:dev
VERSION ?=
REGISTRY ?=
KEY ?=
FUZZTIME ?= 30s
FORECAST ?=
FIGURES ?=
TRACES ?=
EXTENDER ?=
ARCHIVE ?=

# The program, the demo, the local cluster, releases, Helm, and the tests and linters of all these are compiled with the same
# flags. So each finds compiled what it shares with others. Debug information would make the compiler a quarter slower.
lean = CGO_ENABLED=0 GOFLAGS='-trimpath -gcflags=all=-dwarf=false'

CONTROLLER_GEN := bin/tools/$(CONTROLLER_GEN_VERSION)/controller-gen
BUF := bin/tools/$(BUF_VERSION)/buf
PROTOC_GEN_GO := bin/tools/$(PROTOC_GEN_GO_VERSION)/protoc-gen-go
PROTOC_GEN_GO_GRPC := bin/tools/$(PROTOC_GEN_GO_GRPC_VERSION)/protoc-gen-go-grpc
GOLANGCI_LINT := bin/tools/$(GOLANGCI_LINT_VERSION)/golangci-lint
GOVULNCHECK := bin/tools/$(GOVULNCHECK_VERSION)/govulncheck
COSIGN := bin/tools/$(COSIGN_VERSION)/cosign
CYCLONEDX_GOMOD := bin/tools/$(CYCLONEDX_GOMOD_VERSION)/cyclonedx-gomod
KREW := bin/tools/$(KREW_VERSION)/krew
VALIDATE_KREW_MANIFEST := bin/tools/$(KREW_VERSION)/validate-krew-manifest

##@ Try it

.PHONY: help
help: ## Print this
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-zA-Z0-9_\/-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n%s\n' 'The first build of the local cluster compiles Kubernetes, the first test KEDA, cert-manager, Kueue and others: 5 to 10 minutes each.'

.PHONY: demo
demo: build bin/gridlatch-cluster ## Show Gridlatch at work on a local cluster; FORECAST=file to use your own forecast
	@echo 'compiling the demo'; $(lean) go run ./test/demo $(if $(FORECAST),--forecast '$(FORECAST)')

.PHONY: cluster
cluster: bin/gridlatch-cluster $(if $(EXTENDER),build) ## Start a local cluster of three simulated nodes in .cluster; EXTENDER=1: its scheduler asks Gridlatch
	@$(if $(EXTENDER),$(lean) go run ./test/demo --extender,bin/gridlatch-cluster up --dir .cluster --nodes 3)

.PHONY: down
down: ## Stop it, and remove .cluster
	@pkill -F .cluster/logs/gridlatch.pid -x gridlatch 2>/dev/null || true # it would end by itself, 10 s later
	@[[ ! -x bin/gridlatch-cluster ]] || bin/gridlatch-cluster down --dir .cluster

##@ Build

.PHONY: build
build: bin/gridlatch bin/kubectl-gridlatch ## Build bin/gridlatch and bin/kubectl-gridlatch, static

# Always asked for: Go knows better than make whether anything changed.
.PHONY: bin/gridlatch bin/kubectl-gridlatch
bin/gridlatch bin/kubectl-gridlatch:
	@$(call build,$@,$(@F))

# $(call build,OUTPUT,COMMANDS) builds commands. The same commit makes the same bytes, in any directory and at any time.
# Without the tag, gRPC links html/template for pages that nobody serves, and the program becomes half as large again.
BUILD_VERSION := github.com/gridlatch/gridlatch/cmd/internal/version
COMMIT = $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
build = $(lean) go build -buildvcs=false -tags grpcnotrace -o $(1) \
	-ldflags '-s -w -X $(BUILD_VERSION).version=$(VERSION) -X $(BUILD_VERSION).commit=$(COMMIT)' $(addprefix ./cmd/,$(2))

.PHONY: image
image: build ## Build the image gridlatch:dev with buildah, podman or docker, whichever works; ARCHIVE=file to save the image, too
	@GOOS=linux $(call build,bin/gridlatch,gridlatch) # also where make runs on macOS
	@if command -v buildah >/dev/null; then \
		buildah bud --isolation chroot --tag $(IMAGE) .; save() { buildah push $(IMAGE) "docker-archive:$$1:$(IMAGE)"; }; \
	elif command -v podman >/dev/null; then podman build --tag $(IMAGE) .; save() { podman save --output "$$1" $(IMAGE); }; \
	elif docker info >/dev/null 2>&1; then docker build --tag $(IMAGE) .; save() { docker save --output "$$1" $(IMAGE); }; \
	else echo 'make image: needs buildah, podman, or docker with its daemon running' >&2; exit 1; fi; \
	$(if $(ARCHIVE),rm -f '$(ARCHIVE)'; save '$(ARCHIVE)')

# Without the version strings, the API server would claim to be of another version.
CLUSTER_SOURCES := $(shell find test/cluster -type f ! -name '*_test.go' ! -path '*/kubelet/*')
bin/gridlatch-cluster: $(CLUSTER_SOURCES) ## Build the local cluster: Kubernetes in one file
	@cd test/cluster; export $(lean); \
	echo 'building bin/gridlatch-cluster: Kubernetes in one file. The first time, this takes 5 to 10 minutes.'; \
	$(call compile-kubernetes,.,$@)

# $(call compile-kubernetes,PACKAGE,OUTPUT) compiles a command of test/cluster, which knows the version of Kubernetes.
compile-kubernetes = version=$$(go list -m -f '{{.Version}}' k8s.io/kubernetes); IFS=. read -r major minor _ <<<"$${version\#v}"; \
	$(call compile,$(1),$(2),-s -w \
		-X k8s.io/component-base/version.gitVersion=$$version \
		-X k8s.io/component-base/version.gitMajor=$$major \
		-X k8s.io/component-base/version.gitMinor=$$minor \
		-X k8s.io/client-go/pkg/version.gitVersion=$$version)

# The real node, for tests. The kubelet is no part of bin/gridlatch-cluster, so that the first `make demo` does not wait
# for the kubelet. What runs in containers is static.
CONTAINERD := github.com/containerd/containerd/v2/cmd
bin/node/kubelet: $(shell find test/cluster/kubelet -type f) test/cluster/go.mod test/cluster/go.sum ## Build the kubelet of the real node, for tests
	@cd test/cluster; export $(lean); \
	echo 'building bin/node/kubelet. The first time, this takes 2 to 5 minutes.'; \
	$(call compile-kubernetes,./kubelet,$@)

bin/node/gridlatch-node: $(shell find test/node -type f ! -name '*_test.go') ## Build the real node's containerd and what runs the node, for tests
	@cd test/node; export CGO_ENABLED=0; \
	echo 'building bin/node: containerd and what runs the node. The first time, this takes 1 to 3 minutes.'; \
	$(call compile,$(CONTAINERD)/containerd $(CONTAINERD)/containerd-shim-runc-v2 $(CONTAINERD)/ctr ./pause ./work,$(@D)/,-s -w); \
	$(call compile,.,$@,-s -w)

KEDA := github.com/kedacore/keda/v2
bin/keda/operator: test/keda/go.mod test/keda/go.sum ## Build KEDA's operator, metrics adapter, webhooks and CRDs into bin/keda, for tests
	@cd test/keda; \
	echo 'building bin/keda: the operator, the metrics adapter and the webhooks of KEDA. The first time, this takes 5 to 10 minutes.'; \
	version=$$(go list -m -f '{{.Version}}' $(KEDA)); \
	$(call compile,$(KEDA)/cmd/webhooks $(KEDA)/cmd/adapter $(KEDA)/cmd/operator,$(@D)/,-s -w -X $(KEDA)/version.Version=$$version); \
	rm -rf ../../$(@D)/crds; cp -R --no-preserve=mode "$$(go list -m -f '{{.Dir}}' $(KEDA))/config/crd/bases" ../../$(@D)/crds

CERT_MANAGER := github.com/cert-manager/cert-manager
bin/cert-manager/controllers: $(wildcard test/certmanager/*) ## Build what the tests run of cert-manager, and its CRDs, into bin/cert-manager
	@cd test/certmanager; \
	echo 'building bin/cert-manager: its controllers and cainjector. The first time, this takes 2 to 5 minutes.'; \
	version=$$(go list -m -f '{{.Version}}' $(CERT_MANAGER)); \
	$(call compile,.,$@,-s -w -X $(CERT_MANAGER)/pkg/util.AppVersion=$$version); \
	rm -rf ../../$(@D)/crds; cp -R --no-preserve=mode "$$(go list -m -f '{{.Dir}}' $(CERT_MANAGER))/deploy/crds" ../../$(@D)/crds

# What a cluster would install of them is rendered by their own kustomizations: the tests want the names, selectors and
# rules of the webhooks as they are.
KUEUE := sigs.k8s.io/kueue
JOBSET := sigs.k8s.io/jobset
TRAINER := github.com/kubeflow/trainer/v2
bin/kueue/kueue: test/kueue/go.mod test/kueue/go.sum | bin/gridlatch-cluster ## Build Kueue, JobSet and Kubeflow Trainer, and what they install, into bin/kueue, for tests
	@cd test/kueue; \
	echo 'building bin/kueue: Kueue, JobSet and Kubeflow Trainer. The first time, this takes 3 to 6 minutes.'; \
	$(call compile,$(TRAINER)/cmd/trainer-controller-manager $(JOBSET) $(KUEUE)/cmd/kueue,$(@D)/,-s -w); \
	render() { ../../bin/gridlatch-cluster kubectl kustomize "$$(go list -m -f '{{.Dir}}' $$1)/$$2"; echo ---; }; \
	render $(KUEUE) config/default >../../$(@D)/kueue.yaml; \
	render $(JOBSET) config/default >../../$(@D)/jobset.yaml; \
	{ render $(TRAINER) manifests/base/crds; render $(TRAINER) manifests/base/webhook; } >../../$(@D)/trainer.yaml

# Argo's API still needs what k8s.io/api only has under this tag.
ENGINES := ../../bin/engines
bin/engines/mpi/mpi: $(shell find test/engines -type f) ## Build the engines of batch work that tests run, and their CRDs, into bin/engines
	@cd test/engines; export GOFLAGS=-tags=kubernetes_protomessage_one_more_release; \
	echo 'building bin/engines: Argo Workflows, Tekton, KubeRay, and the operators of Spark and MPI. The first time, this takes 5 to 10 minutes.'; \
	files() { go list -m -f "{{.Dir}}/$$2" "$$1"; }; \
	into() { rm -rf $(ENGINES)/$$1; mkdir -p $(ENGINES)/$$1; cp --no-preserve=mode "$${@:2}" $(ENGINES)/$$1; }; \
	argo=github.com/argoproj/argo-workflows/v4 tekton=github.com/tektoncd/pipeline; \
	ray=github.com/ray-project/kuberay/ray-operator spark=github.com/kubeflow/spark-operator/v2; \
	$(call compile,$$argo/cmd/workflow-controller,bin/engines/argo/,-s -w); \
	into argo/crds $$(files $$argo manifests/base/crds/minimal)/argoproj.io_*.yaml; \
	$(call compile,$$tekton/cmd/controller $$tekton/cmd/webhook,bin/engines/tekton/,-s -w); \
	into tekton/install $$(files $$tekton config)/{config-*,300-crds/*}.yaml; \
	$(call compile,$$ray,bin/engines/ray/,-s -w); \
	into ray/crds $$(files $$ray config/crd/bases)/*.yaml; \
	$(call compile,$$spark/cmd/operator,bin/engines/spark/,-s -w); \
	into spark/crds $$(files $$spark config/crd/bases)/*.yaml; \
	$(call compile,./mpi,$(@D)/,-s -w); \
	into mpi/crds $$(files github.com/kubeflow/mpi-operator manifests/base)/kubeflow.org_mpijobs.yaml

KARPENTER := sigs.k8s.io/karpenter
bin/karpenter/karpenter: test/karpenter/go.mod test/karpenter/go.sum ## Build Karpenter with simulated nodes, and its CRDs, into bin/karpenter, for tests
	@cd test/karpenter; export $(lean); \
	echo 'building bin/karpenter: Karpenter with simulated nodes. The first time, this takes 2 to 4 minutes.'; \
	$(call compile,$(KARPENTER)/kwok,$@,-s -w); \
	from="$$(go list -m -f '{{.Dir}}' $(KARPENTER))"; rm -rf ../../$(@D)/crds; mkdir ../../$(@D)/crds; \
	cp --no-preserve=mode "$$from"/{pkg,kwok}/apis/crds/*.yaml ../../$(@D)/crds

HELM := helm.sh/helm/v4
bin/helm: test/helm/go.mod test/helm/go.sum ## Build Helm, for tests
	@cd test/helm; export $(lean); \
	echo 'building bin/helm. The first time, this takes 2 to 4 minutes.'; \
	version=$$(go list -m -f '{{.Version}}' $(HELM)); \
	$(call compile,$(HELM)/cmd/helm,$@,-s -w -X $(HELM)/internal/version.version=$$version)

# $(call compile,PACKAGES,OUTPUT,LDFLAGS) compiles commands of the module in the working directory, and counts.
compile = start=$$SECONDS; total=$$(go list -deps $(1) 2> >($(call progress,modules fetched,) >&2) | wc -l); \
	go build -v -buildvcs=false -o ../../$(2) -ldflags "$(3)" $(1) 2>&1 | $(call progress,packages compiled, of at most $$total); \
	echo "built $(2) in $$((SECONDS - start))s"

# $(call progress,WHAT,OF) counts the lines in which Go names a package or a module: in one line on a terminal, every
# 200 elsewhere. It prints all other lines.
progress = { n=0; line=; while IFS= read -r line; do \
	case $$line in "go: downloading "*) line=;; *[[:space:]]*|"") printf '%s\n' "$$line"; continue;; esac; n=$$((n + 1)); \
	if [[ -t 1 ]]; then printf '\r  %s' "$$n $(1)$(2)"; elif ((n % 200 == 0)); then echo "  $$n $(1)$(2)"; fi; \
	done; if [[ -t 1 ]] && ((n > 0)); then echo; fi; }

##@ Test

# Everything but the program as a whole and what runs on a cluster.
UNIT = $$(go list ./... | grep -vE '^[^/]+/[^/]+/[^/]+/(cmd/gridlatch|test)(/|$$)')

.PHONY: test
test: test-unit test-e2e ## Run all tests but those of test-slow

# Go does not see that the manifests have changed at which oldest looks.
.PHONY: test-unit
test-unit: bin/prometheus/prometheus bin/postgresql/server ## Run the tests that need no cluster, with the race detector
	@go test -race $(UNIT)
	@cd test/cluster && export $(lean) && go test ./local/... && go test -count=1 ./oldest
	@cd test/helm && $(lean) go test -count=1 ./...
	@cd test/node && go test ./...
	@cd packaging && $(lean) go test -short ./...

# The tests wait more than they work. So three runs share the machine: test/e2e in two parts, and all other packages.
# Many tests of a part share one cluster, one after the other; up to three others have a cluster of their own.
.PHONY: test-e2e
test-e2e: build bin/gridlatch-cluster bin/keda/operator bin/cert-manager/controllers bin/kueue/kueue bin/node/kubelet bin/node/gridlatch-node bin/prometheus/prometheus bin/prometheus/crds bin/postgresql/server bin/helm buildah runc ## Run the tests of the program and its image, on real local clusters
	@$(MAKE) --no-print-directory --keep-going --jobs=3 --output-sync=target test-e2e/others test-e2e/1 test-e2e/2

.PHONY: test-e2e/others
test-e2e/others:
	@$(lean) go test -count=1 -timeout 45m $$(go list ./cmd/gridlatch/... ./test/... | grep -vE '/test/(e2e|faults)$$')

.PHONY: test-e2e/1 test-e2e/2
test-e2e/1 test-e2e/2: test-e2e/%:
	@$(lean) go test -count=1 -parallel 3 -timeout 45m -run "^($$($(call names,*_) | grep -vE "$(OF_ENGINES)" | \
		awk 'NR % 2 == $* % 2' | paste -sd '|'))$$" ./test/e2e

# $(call names,FILES) prints the names of the tests in files of test/e2e.
names = sed -nE 's/^func (Test[A-Za-z0-9]+)\(.*/\1/p' test/e2e/$(1)test.go

# The tests with Karpenter, and those of work of other engines, which need the engines themselves.
ENGINE_FILES := {engine,karpenter,kueue,leave_order,nodepool,pause,whole}_*
OF_ENGINES = ^($$($(call names,$(ENGINE_FILES)) | paste -sd '|'))$$

.PHONY: test-slow
test-slow: build bin/gridlatch-cluster bin/keda/operator bin/kueue/kueue bin/karpenter/karpenter bin/engines/mpi/mpi ## Run the tests with Kueue, Karpenter and the engines of batch work
	@$(lean) go test -count=1 -parallel 4 -timeout 45m -run "$(OF_ENGINES)" ./test/e2e

.PHONY: test-release
test-release: build $(COSIGN) $(CYCLONEDX_GOMOD) $(KREW) $(VALIDATE_KREW_MANIFEST) bin/helm bin/gridlatch-cluster bin/node/kubelet bin/node/gridlatch-node runc ## Make a release with a registry on this machine, verify all of it, and let a real node pull it
	@cd packaging && export $(lean) && COSIGN=$(CURDIR)/$(COSIGN) KREW=$(CURDIR)/$(KREW) VALIDATE_KREW_MANIFEST=$(CURDIR)/$(VALIDATE_KREW_MANIFEST) \
		go test -count=1 -timeout 30m ./...

# By itself: its results are compared with each other.
.PHONY: test-faults
test-faults: build bin/gridlatch-cluster ## Break one thing after the other in the middle of a load; the table goes to bin/faults.md
	@$(lean) go test -count=1 -v -timeout 30m ./test/faults -table $(CURDIR)/bin/faults.md

# The test of the image skips itself without buildah.
.PHONY: buildah
buildah:
	@command -v buildah >/dev/null || [[ $$(id -u) != 0 ]] || ! command -v apt-get >/dev/null || { \
		echo 'installing buildah, for the test of the image'; export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends buildah; } >/dev/null 2>&1 </dev/null || \
		echo 'buildah cannot be installed'; }

# The tests on a real node skip themselves without runc, unless the environment has CI or GRIDLATCH_NODE=required.
.PHONY: runc
runc:
	@command -v runc >/dev/null && [[ -e /usr/lib/cni/bridge || -e /opt/cni/bin/bridge ]] || [[ $$(id -u) != 0 ]] || \
		! command -v apt-get >/dev/null || { \
		echo 'installing runc and the CNI plugins, for the tests on a real node'; export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends runc containernetworking-plugins; } >/dev/null 2>&1 </dev/null || \
		echo 'runc and the CNI plugins cannot be installed'; }

# Debian's Prometheus, as files: a package that is installed would start a server. The tests with Prometheus skip
# themselves without it, unless the environment has CI or GRIDLATCH_PROMETHEUS=required.
bin/prometheus/prometheus: ## Fetch Prometheus and promtool for tests, if they are not installed
	@mkdir -p $(@D); \
	if command -v prometheus >/dev/null && command -v promtool >/dev/null; then \
		ln -sf "$$(command -v prometheus)" "$$(command -v promtool)" $(@D)/; \
	elif command -v apt-get >/dev/null; then \
		echo 'fetching Prometheus, for the tests of the monitoring component'; cd $(@D); \
		{ { [[ $$(id -u) != 0 ]] || apt-get update -qq; } && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb . && \
			mv usr/bin/prom* . && touch prometheus; } >/dev/null 2>&1 </dev/null || echo 'Prometheus cannot be fetched'; \
		rm -rf prometheus_*.deb usr etc lib var; \
	else echo 'Prometheus cannot be fetched without apt-get'; fi

# Debian's PostgreSQL, as files, with the libraries that this machine lacks. The tests with PostgreSQL skip themselves
# without it, unless the environment has CI or GRIDLATCH_POSTGRES=required. POSTGRES_FETCH=1 fetches it also if it is installed.
POSTGRES_FETCH ?=
bin/postgresql/server: ## Fetch PostgreSQL for tests, if it is not installed
	@rm -rf $(@D); mkdir -p $(@D); cd $(@D); \
	installed=$$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1); \
	if [[ -z '$(POSTGRES_FETCH)' && -x $$installed/postgres && -x $$installed/initdb && -x $$installed/psql ]]; then \
		ln -s "$$installed" server; \
	elif command -v apt-get >/dev/null; then \
		echo 'fetching PostgreSQL, for the tests of the ledger'; \
		{ { [[ $$(id -u) != 0 ]] || apt-get update -qq; } && \
			apt-get install -s --no-install-recommends $(if $(POSTGRES_FETCH),-o Dir::State::status=/dev/null) postgresql | \
			awk '$$1 == "Inst" && $$2 ~ /^(postgresql-[0-9]+|postgresql-client-[0-9]+|lib.*)$$/ && $$2 !~ /^lib(c6|c-.*|llvm.*|z3-.*|pam-.*|.*perl.*)$$/ { print $$2 }' | \
			xargs apt-get download -qq && for package in *.deb; do dpkg-deb -x "$$package" root; done && \
			rm -f *.deb && if [[ -d root/lib ]]; then cp -R root/lib/. root/usr/lib/ && rm -rf root/lib; fi && \
			rm -rf root/usr/share/{doc,man,locale} && ln -s root/usr/lib/postgresql/*/bin server; } >/dev/null 2>&1 </dev/null || \
			echo 'PostgreSQL cannot be fetched'; \
	else echo 'PostgreSQL cannot be fetched without apt-get'; fi

bin/prometheus/crds: versions.mk ## Fetch the CRDs of the operator of Prometheus, for tests
	@mkdir -p $(@D); rm -rf $@; \
	dir=$$(go mod download -json github.com/prometheus-operator/prometheus-operator@$(PROMETHEUS_OPERATOR_VERSION) | \
		sed -n 's/.*"Dir": "\(.*\)".*/\1/p'); \
	mkdir $@; cp --no-preserve=mode $$dir/example/prometheus-operator-crd/*_{podmonitors,prometheusrules}.yaml $@/

.PHONY: fuzz
fuzz: ## Fuzz every fuzz target for FUZZTIME (30s) each
	@grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file func; do \
		name=$${func#func }; echo "$$name in $${file%/*}, for $(FUZZTIME)"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$${file%/*}" </dev/null; \
	done

# Only the figures of NodePools need Karpenter.
.PHONY: load
load: build bin/gridlatch-cluster bin/keda/operator $(if $(or $(findstring nodepool_,$(FIGURES)),$(if $(FIGURES),,all)),bin/karpenter/karpenter) ## Measure Gridlatch under load; FIGURES=a,b for those only
	@$(lean) go run ./test/load $(if $(FIGURES),-figures $(FIGURES))

.PHONY: bench-carbon
bench-carbon: ## Measure what Gridlatch saves on forty days of one grid; TRACES=folder for your own grids
	@$(lean) go run ./test/carbon $(if $(TRACES),-traces '$(TRACES)')

##@ Check

API := api/v1alpha1
CRDS := manifests/base
KEDA_API := api/carbonaware/v1alpha1
KEDA_CRDS := manifests/components/keda
# $(call generate-into,DIR) writes all generated files, below DIR.
generate-api = $(CONTROLLER_GEN) paths=./$(2) object output:object:dir=$(1)/$(2) crd output:crd:dir=$(1)/$(3)
generate-into = $(call generate-api,$(1),$(API),$(CRDS)) && $(call generate-api,$(1),$(KEDA_API),$(KEDA_CRDS)) && $(call generate-stubs,$(1))

# The first build of buf takes a minute of CPU time. buf asks no server: the plugins are here.
STUBS := trigger/scaler/externalscaler
generate-stubs = $(BUF) generate $(STUBS) --output $(1)/$(STUBS) --template '{"version": "v2", "plugins": [ \
	{"local": "$(PROTOC_GEN_GO)", "out": ".", "opt": "paths=source_relative"}, \
	{"local": "$(PROTOC_GEN_GO_GRPC)", "out": ".", "opt": "paths=source_relative"}]}'
GENERATORS := $(CONTROLLER_GEN) $(BUF) $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC)

.PHONY: generate
generate: $(GENERATORS) ## Generate what is generated: deep copies, CustomResourceDefinitions, stubs of gRPC, components of engines, the Helm chart
	@$(call generate-into,.)
	@go test ./manifests -update >/dev/null
	@$(lean) go -C test/helm test ./chart -run TestTheChartIsMadeFromTheManifests -update >/dev/null

.PHONY: verify
verify: $(GENERATORS) ## Fail if the generated files, go.mod, go.sum or the format of the code are not up to date
	@generated=$$(mktemp -d); trap 'rm -rf "$$generated"' EXIT; mkdir -p $$generated/{$(API),$(CRDS),$(KEDA_API),$(KEDA_CRDS),$(STUBS)}; \
	$(call generate-into,$$generated); stale=; \
	while read -r file; do diff -u "$$file" "$$generated/$$file" || stale+=" $$file"; \
	done < <(cd $$generated && find . -type f | cut -c 3-); \
	[[ -z $$stale ]] || { echo "not up to date:$$stale; run: make generate" >&2; exit 1; }
	@for module in . test/cluster test/node test/keda test/certmanager test/kueue test/engines test/karpenter test/helm packaging; do go -C $$module mod tidy -diff; done
	@unformatted=$$(gofmt -l .); [[ -z $$unformatted ]] || { echo "run gofmt -w on:" $$unformatted >&2; exit 1; }

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run the linters, whose reasons are in .golangci.yml
	@$(lean) $(GOLANGCI_LINT) run ./...
# All of Kubernetes is read for the sake of one main.go: there, vet must do.
	@cd test/cluster && export $(lean) && $(CURDIR)/$(GOLANGCI_LINT) run ./local/... ./oldest/... && go vet ./...
	@cd test/certmanager && $(CURDIR)/$(GOLANGCI_LINT) run ./...
	@cd test/engines && $(CURDIR)/$(GOLANGCI_LINT) run ./...
	@cd test/helm && $(lean) $(CURDIR)/$(GOLANGCI_LINT) run ./...
	@cd test/node && $(CURDIR)/$(GOLANGCI_LINT) run ./...
	@cd packaging && $(lean) $(CURDIR)/$(GOLANGCI_LINT) run ./...
# The plugin is for these systems, too.
	@for system in darwin windows; do GOOS=$$system $(lean) go vet ./cmd/kubectl-gridlatch; done

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Look for known vulnerabilities in what the program calls; skipped if vuln.go.dev cannot be reached
	@report=$$($(GOVULNCHECK) ./... 2>&1) && status=0 || status=$$?; \
	if ((status != 0)) && grep -q 'vuln\.go\.dev' <<<"$$report" && ! grep -q '^Vulnerability #' <<<"$$report"; then \
		printf 'SKIPPED, nothing was checked: vuln.go.dev cannot be reached.\n%s\n' "$$report"; \
	else printf '%s\n' "$$report"; exit $$status; fi

##@ Release

# Where the images of releases are, if nobody names a registry.
HOME_REGISTRY := ghcr.io/gridlatch
RELEASE_PLATFORMS := darwin_amd64 darwin_arm64 linux_amd64 linux_arm64 windows_amd64 windows_arm64

PACKAGING = $(lean) go -C packaging run . $(1) -version '$(VERSION)' -registry '$(or $(REGISTRY),$(HOME_REGISTRY))' -push=$(if $(REGISTRY),true,false) \
	-key '$(if $(findstring ://,$(KEY)),$(KEY),$(if $(KEY),$(abspath $(KEY))))' -cosign $(CURDIR)/$(COSIGN) -cyclonedx-gomod $(CURDIR)/$(CYCLONEDX_GOMOD)

.PHONY: release
release: BEGAN := $(shell date +%s)
release: ## Make the release VERSION=v1.2.3 in dist; REGISTRY=ghcr.io/you pushes the image, KEY=cosign.key signs
	@$(call PACKAGING,check)
	@$(MAKE) --silent --no-print-directory $(CYCLONEDX_GOMOD) $(if $(KEY),$(COSIGN))
	@$(call PACKAGING,begin)
	@rm -rf bin/release
	@$(MAKE) --no-print-directory --jobs=2 release-binaries
	@$(call PACKAGING,image)
	@$(MAKE) --no-print-directory dist/install.yaml IMAGE="$$(<dist/image.txt)"
	@$(call PACKAGING,finish)
	@echo "made in $$(($$(date +%s) - $(BEGAN)))s; docs/release.md tells how users verify a release"

# The program is for Linux, the plugin for all platforms. What the shell sets for Go does not change a release. These are
# the defaults, so that what `make build` has compiled is not compiled again.
.PHONY: release-binaries $(RELEASE_PLATFORMS:%=bin/release/%)
release-binaries: $(RELEASE_PLATFORMS:%=bin/release/%)
bin/release/%: PLATFORM = $(subst _, ,$*)
$(RELEASE_PLATFORMS:%=bin/release/%): bin/release/%:
	@start=$$SECONDS; export GOOS=$(word 1,$(PLATFORM)) GOARCH=$(word 2,$(PLATFORM)) GOAMD64=v1 GOARM64=v8.0; \
	$(call build,$@/,kubectl-gridlatch $(if $(filter linux_%,$*),gridlatch)); printf '  %3d.0s             %s\n' $$((SECONDS - start)) $@

# Always made: the files depend on variables. Both are made together.
.PHONY: dist/install.yaml
dist/install.yaml: ## Write what users install a release from, for VERSION and IMAGE
	@start=$$SECONDS; $(lean) go -C test/helm run ./dist -version '$(or $(VERSION),v0.0.0-dev)' -image '$(IMAGE)' \
		-epoch "$$(git show --no-patch --format=%ct HEAD 2>/dev/null || echo 0)"; chmod 644 dist/install.yaml; \
	printf '  %3d.0s             %s\n' $$((SECONDS - start)) 'dist/install.yaml, and the chart'
dist/gridlatch-%.tgz: dist/install.yaml ;

##@ Tidy up

.PHONY: clean
clean: down ## Stop the local cluster, and remove what was built
	@rm -rf bin dist .cluster

# A tool is in a directory named after its version: another version is another file.
$(CONTROLLER_GEN): PACKAGE := sigs.k8s.io/controller-tools/cmd/controller-gen
$(BUF): PACKAGE := github.com/bufbuild/buf/cmd/buf
$(PROTOC_GEN_GO): PACKAGE := google.golang.org/protobuf/cmd/protoc-gen-go
$(PROTOC_GEN_GO_GRPC): PACKAGE := google.golang.org/grpc/cmd/protoc-gen-go-grpc
$(GOLANGCI_LINT): PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(GOVULNCHECK): PACKAGE := golang.org/x/vuln/cmd/govulncheck
$(COSIGN): PACKAGE := github.com/sigstore/cosign/v3/cmd/cosign
$(CYCLONEDX_GOMOD): PACKAGE := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
$(KREW): PACKAGE := sigs.k8s.io/krew/cmd/krew
$(VALIDATE_KREW_MANIFEST): PACKAGE := sigs.k8s.io/krew/cmd/validate-krew-manifest
$(GENERATORS) $(GOLANGCI_LINT) $(GOVULNCHECK) $(COSIGN) $(CYCLONEDX_GOMOD) $(KREW) $(VALIDATE_KREW_MANIFEST):
	@echo 'installing $(@F) $(notdir $(@D))'
	@$(lean) GOBIN=$(CURDIR)/$(@D) go install $(PACKAGE)@$(notdir $(@D))

# The version of every tool that the Makefile installs, in one place. The versions of libraries are in go.mod, that of
# Kubernetes in test/cluster/go.mod, that of KEDA in test/keda/go.mod, that of the cert-manager that tests run in
# test/certmanager/go.mod, those of Kueue, JobSet and Kubeflow Trainer in test/kueue/go.mod, those of Argo Workflows,
# Tekton, KubeRay and the operators of Spark and MPI in test/engines/go.mod, that of Karpenter in test/karpenter/go.mod,
# that of containerd in test/node/go.mod, and those of Helm and kustomize in test/helm/go.mod.

# renovate: datasource=go depName=github.com/golangci/golangci-lint/v2
GOLANGCI_LINT_VERSION := v2.15.0
# renovate: datasource=go depName=sigs.k8s.io/controller-tools
CONTROLLER_GEN_VERSION := v0.23.0
# renovate: datasource=go depName=github.com/bufbuild/buf
BUF_VERSION := v1.75.0
# The version of google.golang.org/protobuf in go.mod is not older.
# renovate: datasource=go depName=google.golang.org/protobuf
PROTOC_GEN_GO_VERSION := v1.36.12
# renovate: datasource=go depName=google.golang.org/grpc/cmd/protoc-gen-go-grpc
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2
# v1.9.0 needs a version of golang.org/x/telemetry that not every module proxy serves.
# renovate: datasource=go depName=golang.org/x/vuln
GOVULNCHECK_VERSION := v1.8.0
# renovate: datasource=go depName=github.com/sigstore/cosign/v3
COSIGN_VERSION := v3.1.3
# renovate: datasource=go depName=github.com/CycloneDX/cyclonedx-gomod
CYCLONEDX_GOMOD_VERSION := v1.10.0
# renovate: datasource=go depName=sigs.k8s.io/krew
KREW_VERSION := v0.4.3
# Tests need the CustomResourceDefinitions of this version.
# renovate: datasource=go depName=github.com/prometheus-operator/prometheus-operator
PROMETHEUS_OPERATOR_VERSION := v0.85.0

package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestThePluginDoesNotLinkTheManager keeps the plugin small, and unable to start a controller. The
// linter sees only what a package imports itself.
func TestThePluginDoesNotLinkTheManager(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, "github.com/gridlatch/gridlatch/policy") {
		t.Fatalf("go list does not say what is linked, but: %.200s", out)
	}
	for _, forbidden := range []string{
		"sigs.k8s.io/controller-runtime",
		"sigs.k8s.io/controller-runtime/pkg/builder",
		"sigs.k8s.io/controller-runtime/pkg/cache",
		"sigs.k8s.io/controller-runtime/pkg/controller",
		"sigs.k8s.io/controller-runtime/pkg/manager",
		"sigs.k8s.io/controller-runtime/pkg/webhook",
		"github.com/gridlatch/gridlatch/ceiling",
		"github.com/gridlatch/gridlatch/certs",
		"github.com/gridlatch/gridlatch/exporter",
		"github.com/gridlatch/gridlatch/extender",
		"github.com/gridlatch/gridlatch/feed",
		"github.com/gridlatch/gridlatch/gating",
		"github.com/gridlatch/gridlatch/ledger/keep",
		"github.com/gridlatch/gridlatch/ledger/meter",
		"github.com/gridlatch/gridlatch/ledger/rows",
		"github.com/gridlatch/gridlatch/serving",
		"github.com/gridlatch/gridlatch/trigger/scaler",
		"github.com/gridlatch/gridlatch/trigger/trust",
		"github.com/gridlatch/gridlatch/webhook",
		"google.golang.org/grpc",
	} {
		if slices.Contains(linked, forbidden) {
			t.Errorf("the plugin links %s", forbidden)
		}
	}
}

package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/gating/hold"
)

// TestLeavingIsSafe leaves by hand where no Deployment runs Gridlatch: the webhook first, then the
// release, then the rest.
func TestLeavingIsSafe(t *testing.T) {
	c, g := ownCluster(t)
	dirtyThenClean(t, c, 5*time.Minute)
	ns := namespace(t, c)
	failing := job(ns, "failing", tolerant(), 1)
	failing.Spec.Template.Annotations = map[string]string{"kwok.gridlatch.dev/fail": "true", "kwok.gridlatch.dev/run-for": "1s"}
	create(t, c, failing, pod(ns, "bare", tolerant()))
	awaitGated(t, c, ns, 2)
	if _, err := c.Kubectl(t.Context(), "delete", "mutatingwebhookconfiguration", "gridlatch"); err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(filepath.Dir(c.Kubeconfig), "gridlatch.kubeconfig") // its service account
	output, err := exec.CommandContext(t.Context(), "../../bin/gridlatch", "release", "--all", "--kubeconfig="+kubeconfig).CombinedOutput()
	// Gridlatch still runs, and may itself release the Job's pod as soon as the command has released the Job.
	if released := string(output); err != nil || !strings.Contains(released, "released 2 pods") && !strings.Contains(released, "released 1 pods") {
		t.Fatalf("%v: %s", err, output)
	}
	awaitScheduled(t, c, ns, 2, patience)
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Kubectl(t.Context(), "delete", "--ignore-not-found", "-k", "../../manifests/base"); err != nil {
		t.Fatal(err)
	}
	// the retry comes ten seconds later, with nobody there to take a gate off
	awaitScheduled(t, c, ns, 3, 3*patience)
	pods, err := podsOf(t.Context(), c, ns)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if hold.HasGate(p.Spec.SchedulingGates) {
			t.Errorf("pod %s is still gated", p.Name)
		}
	}
}

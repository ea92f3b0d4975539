package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
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
	awaitScheduled(t, c, ns, 2, patience)
	// Gridlatch still runs. As soon as the command has released the Job, Gridlatch may release the Job's pod.
	want := 2
	released, errPods := podsOf(t.Context(), c, ns)
	if errPods != nil {
		t.Fatal(errPods)
	}
	for _, p := range released {
		if strings.HasPrefix(p.Annotations[v1alpha1.ReasonAnnotation], "its Job has been released") {
			want--
		}
	}
	if err != nil || !strings.Contains(string(output), fmt.Sprintf("released %d pods", want)) {
		t.Fatalf("%v: %s, want %d pods", err, output, want)
	}
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

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestHelmInstallsUpgradesRollsBackAndUninstalls lives through a release of the chart in a namespace of its own, while
// work is held. The pods of the release are simulated; the program runs beside the cluster.
func TestHelmInstallsUpgradesRollsBackAndUninstalls(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	c.Home = "carbon"
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	h := newHelm(t, c, port)
	h.must(t, "lint", "--strict", h.chart)
	notes := h.must(t, "install", helmRelease, h.chart, "--create-namespace", "--wait", "--set", "keda.enabled=true,defaultPolicy.spec.maxDelay=2d",
		"--set-string", `podAnnotations.kwok\.gridlatch\.dev/run-for=1h`)
	if !strings.Contains(notes, "There is no forecast yet") || !strings.Contains(notes, "pod-security.kubernetes.io/enforce=restricted") {
		t.Errorf("the notes do not say what is wrong:\n%s", notes)
	}
	wantMaxDelay(t, c, "2d")
	c.Controller(t, port)
	env.Eventually(t, patience, c.AskWebhook)
	dirtyThenClean(t, c, 10*time.Minute)
	ns := namespace(t, c)
	waits := job(ns, "waits", tolerant(v1alpha1.HoldAnnotation, v1alpha1.HoldBySuspend, v1alpha1.DeadlineAnnotation, "2h"), 1)
	create(t, c, pod(ns, "waits", tolerant(v1alpha1.DeadlineAnnotation, "2h")), waits)
	awaitGated(t, c, ns, 1)
	before := planned(t, c, ns)

	h.must(t, "upgrade", helmRelease, h.chart, "--reset-then-reuse-values", "--wait", "--set", "engines.jobset=true,defaultPolicy.spec.maxDelay=3d")
	wantMaxDelay(t, c, "3d")
	wantClusterRole(t, c, "gridlatch-jobset", true)
	h.must(t, "rollback", helmRelease, "1", "--wait")
	wantClusterRole(t, c, "gridlatch-jobset", false)
	wantMaxDelay(t, c, "3d") // the first revision has no policy: see templates/policy.yaml
	h.must(t, "upgrade", helmRelease, h.chart, "--reset-then-reuse-values", "--wait", "--set", "defaultPolicy.spec.maxDelay=4d")
	wantMaxDelay(t, c, "4d")
	if after := planned(t, c, ns); after != before {
		t.Errorf("the plan was %s, and is %s after the upgrades and the roll-back", before, after)
	}
	notes = h.must(t, "get", "notes", helmRelease)
	if strings.Contains(notes, "There is no forecast") {
		t.Errorf("the notes do not see the forecast:\n%s", notes)
	}
	uninstall(t, h)
	awaitScheduled(t, c, ns, 2, patience)
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(waits), waits); err != nil || waits.Spec.Suspend != nil && *waits.Spec.Suspend {
		t.Errorf("the Job is still held: %v", err)
	}
}

// TestAnUninstallationThatCannotReleaseRemovesNothing has a Job for the release that never ends.
func TestAnUninstallationThatCannotReleaseRemovesNothing(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(1))
	c.Home = "carbon"
	h := newHelm(t, c, 1)
	h.must(t, "install", helmRelease, h.chart, "--create-namespace", "--set", "releaseAtUninstall.timeoutSeconds=10",
		"--set-string", `podAnnotations.kwok\.gridlatch\.dev/run-for=1h`)
	if _, err := h.c.Helm(t.Context(), "uninstall", helmRelease, "--timeout=5m"); err == nil || !strings.Contains(err.Error(), "gridlatch-release") {
		t.Errorf("the uninstallation did not stop at the hook: %v", err)
	}
	wantClusterRole(t, c, "gridlatch", true)
	h.must(t, "uninstall", helmRelease, "--no-hooks")
	wantClusterRole(t, c, "gridlatch", false)
}

// uninstall removes the release, and does in place of a kubelet what the Job of the hook says. It checks that only what
// is to be kept is left.
func uninstall(t *testing.T, h helm) {
	t.Helper()
	manifest := h.must(t, "get", "manifest", helmRelease)
	// The simulated pod of the Job runs until the program has done its work.
	h.must(t, "upgrade", helmRelease, h.chart, "--reset-then-reuse-values", "--set-string", `podAnnotations.kwok\.gridlatch\.dev/run-for=20s`)
	_, kubeconfig := clientAt(t, h.c, h.c.Home, "gridlatch")
	ended := make(chan error, 1)
	go func() {
		_, err := h.c.Helm(t.Context(), "uninstall", helmRelease, "--wait")
		ended <- err
	}()
	var hook batchv1.Job
	env.Eventually(t, patience, func(ctx context.Context) error {
		return h.c.Client.Get(ctx, client.ObjectKey{Namespace: h.c.Home, Name: "gridlatch-release"}, &hook)
	})
	container := hook.Spec.Template.Spec.Containers[0]
	args := append(slices.Clone(container.Args), "--kubeconfig="+kubeconfig, "--namespace="+h.c.Home)
	if printed, err := exec.CommandContext(t.Context(), "../../bin/gridlatch", args...).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, printed)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	left, err := h.c.KubectlInput(t.Context(), manifest, "get", "--ignore-not-found", "-o", "name", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(left) {
		if !strings.HasPrefix(name, "customresourcedefinition.") && name != "carbonpolicy.gridlatch.dev/default" {
			t.Errorf("%s is left", name)
		}
	}
	if !strings.Contains(left, "carbonpolicies.gridlatch.dev") || !strings.Contains(left, "carbonpolicy.gridlatch.dev/default") {
		t.Errorf("the policies are gone; left are:\n%s", left)
	}
}

func wantMaxDelay(t *testing.T, c *env.Cluster, want string) {
	t.Helper()
	var policy v1alpha1.CarbonPolicy
	if err := c.Client.Get(t.Context(), client.ObjectKey{Name: v1alpha1.DefaultPolicy}, &policy); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(policy.Spec.MaxDelay); got != want {
		t.Errorf("the policy has maxDelay %s, want %s", got, want)
	}
}

func wantClusterRole(t *testing.T, c *env.Cluster, name string, want bool) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		err := c.Client.Get(ctx, client.ObjectKey{Name: name}, &rbacv1.ClusterRole{})
		if err == nil == want {
			return nil
		}
		if err == nil || apierrors.IsNotFound(err) {
			return fmt.Errorf("ClusterRole %s: there %v, want %v", name, err == nil, want)
		}
		return err
	})
}

// planned returns what the pod and the Job of a namespace wait for.
func planned(t *testing.T, c *env.Cluster, ns string) string {
	t.Helper()
	var all []string
	pods, err := podsOf(t.Context(), c, ns)
	var jobs batchv1.JobList
	if err := errors.Join(err, c.Client.List(t.Context(), &jobs, client.InNamespace(ns))); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		all = append(all, fmt.Sprint(p.Name, " gated ", hold.HasGate(p.Spec.SchedulingGates), " until ", p.Annotations[v1alpha1.PlannedStartAnnotation]))
	}
	for _, j := range jobs.Items {
		all = append(all, fmt.Sprint(j.Name, " suspended ", *j.Spec.Suspend, " until ", j.Annotations[v1alpha1.PlannedStartAnnotation]))
	}
	return strings.Join(all, "; ")
}

package e2e

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestAJobSetAndAJobArePausedAndBooked shows a JobSet under its real engine, and a Job beside it: both are
// paused through a dirty time, and the ledger has each as one piece of work.
func TestAJobSetAndAJobArePausedAndBooked(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	c.JobSet(t)
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Install(t.Context(), port, "jobset"); err != nil {
		t.Fatal(err)
	}
	c.Controller(t, port, "--ledger-interval=2s")
	if err := c.AwaitWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, c)
	gridIs(t, c, 100, 400)
	const template = `{spec: {backoffLimit: 0, template: {metadata: {annotations: {kwok.gridlatch.dev/run-for: 40s}}, spec: {restartPolicy: Never, containers: [{name: work, image: work, resources: {requests: {cpu: "2"}}}]}}}}`
	set := object(t, fmt.Sprintf(`
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {namespace: %s, name: set}
spec: {replicatedJobs: [{name: first, template: %s}, {name: second, template: %s}]}
`, ns, template, template))
	j := requesting(interruptible(ns, "job", 40*time.Second), "40s")
	set.SetAnnotations(j.Annotations)
	create(t, c, j) // at once, so that the JobSet does not wait for room
	create(t, c, set)
	awaitRunningJob(t, c, j)
	awaitScheduled(t, c, ns, 3, patience)
	time.Sleep(2 * time.Second) // their containers have begun

	gridIs(t, c, 430, 430, 100, 400)
	awaitPaused(t, c, j, 1)
	awaitObject(t, c, set, func() error {
		suspended, _, err := unstructured.NestedBool(set.Object, "spec", "suspend")
		if runs := policy.ReadRuns(set.GetAnnotations()); err != nil || !suspended || runs.Paused.IsZero() || runs.Pauses != 1 {
			return fmt.Errorf("suspended: %v, %+v: %w", suspended, runs, err)
		}
		return nil
	})
	awaitSuspended(t, c, ns, map[string]bool{"set-first-0": true, "set-second-0": true, "job": true})
	awaitEvent(t, c, set, v1alpha1.EventPaused)
	time.Sleep(6 * time.Second) // some passes of the ledger
	if found, err := booked(t.Context(), c, ns); err != nil || len(found) > 0 {
		t.Errorf("what is paused is booked: %v, %v", found, err)
	}

	gridIs(t, c, 100, 400)
	awaitComplete(t, c, ns, "job")
	found := awaitBooked(t, c, ns, "set", "job")
	for name, g := range found {
		if g.Pauses != 1 || g.Failed || g.RestartCost != time.Minute || len(g.Steps) < 2 || g.Units != 1 {
			t.Errorf("%s is booked as %+v", name, g)
		}
		for _, step := range g.Steps {
			if step.FailedWatts > 0 {
				t.Errorf("a pod of %s that was stopped has failed: %+v", name, g.Steps)
			}
		}
	}
	awaitEvent(t, c, set, v1alpha1.EventResumed)
}

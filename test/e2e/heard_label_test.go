package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestByLabelOnlyWhatIsLabelledWaits installs the component, with a controller beside
// the cluster.
func TestByLabelOnlyWhatIsLabelledWaits(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Install(t.Context(), port, "by-label"); err != nil {
		t.Fatal(err)
	}
	g := c.Controller(t, port)
	if err := c.AwaitWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
	dirtyThenClean(t, c, aWhile)
	ns := namespace(t, c)
	before, err := g.Metric(t.Context(), "gridlatch_webhook_decisions_total")
	if err != nil {
		t.Fatal(err)
	}
	declined := pod(ns, "declined", tolerant())
	declined.Labels = wish("false")
	create(t, c, job(ns, "annotated", tolerant(), 1), job(ns, "ordinary", nil, 1), declined)
	for _, o := range []client.Object{with(pod(ns, "selects", nil), onClean), with(job(ns, "selects", nil, 1), onClean)} {
		if err := c.Client.Create(t.Context(), o, client.DryRunAll); err != nil || len(o.GetAnnotations()) > 0 {
			t.Errorf("a node selector is heard: %v, %v", o.GetAnnotations(), err)
		}
	}
	awaitPods(t, c, ns, wantGated(0, 3))
	if after, err := g.Metric(t.Context(), "gridlatch_webhook_decisions_total"); err != nil || after != before {
		t.Errorf("the webhook was asked %v times, %v", after-before, err)
	}
	expectToldToLabel(t, c, ns)

	without := tolerant(v1alpha1.DelayTolerantAnnotation, "")
	labelled, bare := job("", "labelled", without, 2), pod("", "bare", without)
	labelled.Labels, bare.Labels = wish("true"), wish("true")
	for _, tt := range []struct {
		o    client.Object
		pods int
	}{{labelled, 2}, {bare, 1}, {deployment("", without, wish("true"), 2), 2}} {
		tt.o.SetNamespace(namespace(t, c))
		create(t, c, tt.o)
		awaitPods(t, c, tt.o.GetNamespace(), wantGated(tt.pods, 0))
	}
	change(t, c, labelled, func(j *batchv1.Job) { delete(j.Labels, v1alpha1.DelayTolerantAnnotation) })
	awaitPods(t, c, labelled.Namespace, wantGated(0, 2))
}

// expectToldToLabel expects to be told of a wish that is an annotation only.
func expectToldToLabel(t *testing.T, c *env.Cluster, ns string) {
	t.Helper()
	well := cronJob(ns, "well", tolerant(), batchv1.AllowConcurrent)
	well.Spec.JobTemplate.Labels = wish("true")
	ofCronJob := cronJob(ns, "of-cronjob", nil, batchv1.AllowConcurrent)
	ofCronJob.Labels = wish("true")
	for o, path := range map[client.Object]string{
		ofCronJob:                       "spec.jobTemplate.metadata.labels",
		job(ns, "a-job", tolerant(), 1): "metadata.labels",
		cronJob(ns, "a-cronjob", tolerant(), batchv1.AllowConcurrent): "spec.jobTemplate.metadata.labels",
		deployment(ns, tolerant(), nil, 1):                            "spec.template.metadata.labels",
		well:                                                          "",
		job(ns, "declines", wish("false"), 1):                         "",
	} {
		const told = "gridlatch.dev/delay-tolerant is read as a label only in this cluster, and nothing waits: write it in "
		env.Eventually(t, patience, func(context.Context) error { // policies are read every second
			got := createWarned(t, c, o, client.DryRunAll)
			if path == "" && got != "" || path != "" && !strings.Contains(got, told+path) {
				return fmt.Errorf("%T %s: told %q, want %q", o, o.GetName(), got, path)
			}
			return nil
		})
	}
}

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/test/env"
)

// report is a run of the same work as all of its kind, and takes three seconds.
func report(ns, name string, annotations map[string]string) *batchv1.Job {
	j := job(ns, name, annotations, 1)
	j.Labels = map[string]string{v1alpha1.RunsOfLabel: "report"}
	j.Spec.Template.Annotations = map[string]string{"kwok.gridlatch.dev/run-for": "3s"}
	return j
}

func TestDurationIsLearnedFromEarlierRuns(t *testing.T) {
	c, g := ownCluster(t)
	ns := namespace(t, c)
	dirtyThenClean(t, c, 15*time.Second)
	create(t, c, report(ns, "first", nil), report(ns, "held", tolerant()), report(ns, "suspended", tolerant(v1alpha1.HoldAnnotation, v1alpha1.HoldBySuspend)))
	for _, name := range []string{"first", "held", "suspended"} {
		done := awaitComplete(t, c, ns, name)
		if started := done.Annotations[v1alpha1.StartedAnnotation]; (started == "") != (name == "first") {
			t.Errorf("%s started at %q", name, started)
		}
	}
	dirtyThenClean(t, c, 5*time.Minute)
	if err := g.Stop(); err != nil { // it learns as it starts
		t.Fatal(err)
	}
	c.Controller(t, g.Webhook)
	silent := tolerant(v1alpha1.DurationAnnotation, "")
	env.Eventually(t, patience, func(ctx context.Context) error {
		probe := report(ns, "probe", silent)
		if err := c.Client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if source := probe.Annotations[v1alpha1.DurationSourceAnnotation]; source != "median of 3 earlier runs" || probe.Annotations[v1alpha1.PlannedStartAnnotation] == "" {
			return fmt.Errorf("the duration is taken from %q: %v", source, probe.Annotations)
		}
		return nil
	})

	next := report(ns, "next", silent)
	create(t, c, next)
	median, err := plan.ParseDuration(next.Annotations[v1alpha1.ExpectedDurationAnnotation])
	if err != nil || median < 3*time.Second || median > 10*time.Second {
		t.Errorf("expected to take %s (%v)", median, err)
	}
	latest, err := time.Parse(time.RFC3339, next.Annotations[v1alpha1.LatestStartAnnotation])
	if slack := next.CreationTimestamp.Add(10 * time.Minute).Sub(latest); err != nil || slack > 14*time.Second { // those held had waited for 15
		t.Errorf("%s are kept free for it before its deadline (%v)", slack, err)
	}
	awaitGatedWithin(t, c, ns, 1, patience)
	held := &corev1.PodList{}
	if err := c.Client.List(t.Context(), held, client.InNamespace(ns), client.MatchingLabels{v1alpha1.StateLabel: v1alpha1.StateHeld}); err != nil {
		t.Fatal(err)
	}
	for _, p := range held.Items {
		if want := " in CAISO_NORTH over ~" + plan.FormatDuration(median) + ", "; !strings.Contains(p.Annotations[v1alpha1.ReasonAnnotation], want) {
			t.Errorf("the pod's reason does not say %q: %s", want, p.Annotations[v1alpha1.ReasonAnnotation])
		}
	}
	described, err := c.Kubectl(t.Context(), "describe", "job", "next", "-n", ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(described)
	for _, want := range []string{" over ~" + plan.FormatDuration(median), v1alpha1.DurationSourceAnnotation + ": median of 3 earlier runs"} {
		if !strings.Contains(described, want) {
			t.Errorf("kubectl describe job does not say %q", want)
		}
	}
	cleanNow(t, c)
	awaitComplete(t, c, ns, "next")
}

func TestDurationOfACronJobsFirstRunIsThePolicys(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	ns := namespace(t, cluster)
	suspended := true
	nightly := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "nightly"},
		Spec: batchv1.CronJobSpec{Schedule: "0 0 1 1 *", Suspend: &suspended, JobTemplate: batchv1.JobTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(v1alpha1.DurationAnnotation, "", v1alpha1.DeadlineAnnotation, "8h")}, Spec: job(ns, "", nil, 1).Spec,
		}},
	}
	create(t, cluster, nightly)
	if _, err := cluster.Kubectl(t.Context(), "create", "job", "by-hand", "--from=cronjob/nightly", "-n", ns); err != nil {
		t.Fatal(err)
	}
	scheduled := job(ns, "scheduled", tolerant(v1alpha1.DurationAnnotation, "", v1alpha1.DeadlineAnnotation, "8h"), 1)
	scheduled.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(nightly, batchv1.SchemeGroupVersion.WithKind("CronJob"))}
	env.Eventually(t, patience, func(ctx context.Context) error { // until the webhook knows the CronJob
		probe := scheduled.DeepCopy()
		if err := cluster.Client.Create(ctx, probe, client.DryRunAll); err != nil || probe.Annotations[v1alpha1.OutcomeAnnotation] == v1alpha1.OutcomeNotHeld {
			return fmt.Errorf("%v: %w", probe.Annotations, err)
		}
		return nil
	})
	create(t, cluster, scheduled)
	for _, name := range []string{"by-hand", "scheduled"} {
		j := &batchv1.Job{}
		if err := cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, j); err != nil {
			t.Fatal(err)
		}
		if got := j.Labels[v1alpha1.RunsOfLabel]; got != "nightly" {
			t.Errorf("%s is a run of %q, want nightly", name, got)
		}
		source, reason := j.Annotations[v1alpha1.DurationSourceAnnotation], j.Annotations[v1alpha1.ReasonAnnotation]
		if source != "the policy's default" || !strings.Contains(reason, " over 1h, ") {
			t.Errorf("%s is planned with %s: %s", name, source, reason)
		}
	}
}

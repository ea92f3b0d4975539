package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// runningNow counts the pods of a namespace that are not gated and not over.
func runningNow(ctx context.Context, c *env.Cluster, ns string) (running, over int, err error) {
	pods, err := podsOf(ctx, c, ns)
	for _, p := range pods {
		switch {
		case p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed:
			over++
		case !hold.HasGate(p.Spec.SchedulingGates):
			running++
		}
	}
	return running, over, err
}

// work is a Job whose pods run for some seconds.
func work(ns, name string, seconds int, pods int32) client.Object {
	j := job(ns, name, tolerant(v1alpha1.DurationAnnotation, fmt.Sprintf("%ds", seconds)), pods)
	j.Spec.Template.Annotations = map[string]string{"kwok.gridlatch.dev/run-for": fmt.Sprintf("%ds", seconds)}
	return j
}

func TestNoMorePodsRunThanTheCeilingAllows(t *testing.T) {
	c, g := ownCluster(t)
	p := v1alpha1.Default()
	p.Spec.Locations = []v1alpha1.Location{{Name: location}}
	p.Spec.Buckets = []v1alpha1.Bucket{{UpTo: ptr(int32(200)), Ceiling: 6}, {UpTo: ptr(int32(500)), Ceiling: 2}}
	create(t, c, p)
	if err := c.Forecast(t.Context(), env.Elements(location, time.Now().Add(-10*time.Minute), time.Hour, 150, 400, 400)...); err != nil {
		t.Fatal(err)
	}
	awaitIntensity(t, c, 150)
	ns := namespace(t, c)
	for i := range 7 { // 14 pods, and room for 6
		create(t, c, work(ns, fmt.Sprint("job-", i), 8, 2))
	}
	waited, restarted, done := false, false, 0
	deadline := time.Now().Add(4 * time.Minute)
	for done < 14 && time.Now().Before(deadline) {
		running, over, err := runningNow(t.Context(), c, ns)
		if err != nil {
			t.Fatal(err)
		}
		if running > 6 {
			t.Fatalf("%d pods run, and the ceiling is 6", running)
		}
		done = over
		if running == 6 && !waited {
			waited = true
			awaitRoomIsAwaited(t, c, ns)
		}
		if over >= 4 && !restarted { // what runs is counted anew
			restarted = true
			if err := g.Kill(); err != nil {
				t.Fatal(err)
			}
			g = c.Gridlatch(t)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if done < 14 || !waited {
		t.Fatalf("%d of 14 pods are done; six ran at once: %v\n%s", done, waited, g.Log())
	}
}

// awaitRoomIsAwaited waits until what waits for room says so, on a pod and on
// the policy. The six pods run for eight seconds.
func awaitRoomIsAwaited(t *testing.T, c *env.Cluster, ns string) {
	t.Helper()
	env.Eventually(t, 6*time.Second, func(ctx context.Context) error {
		pods, err := podsOf(ctx, c, ns)
		if err != nil {
			return err
		}
		for _, p := range pods {
			if hold.HasGate(p.Spec.SchedulingGates) && strings.Contains(p.Annotations[v1alpha1.ReasonAnnotation], "waits for room in bucket <=200 in "+location+": 6 of 6 running") {
				return nil
			}
		}
		return fmt.Errorf("no pod says that it waits for room")
	})
	env.Eventually(t, 3*time.Second, func(ctx context.Context) error {
		var p v1alpha1.CarbonPolicy
		if err := c.Client.Get(ctx, client.ObjectKey{Name: "default"}, &p); err != nil {
			return err
		}
		if l := p.Status.Locations; len(l) == 0 || l[0].Bucket != "<=200" || l[0].Ceiling == nil || *l[0].Ceiling != 6 || l[0].Running == nil {
			return fmt.Errorf("status: %+v", p.Status.Locations)
		}
		return nil
	})
}

func TestWorkPastItsLatestStartGoesAboveTheCeiling(t *testing.T) {
	carbonPolicy(t, "closed", "spec: {locations: [{name: "+location+"}], buckets: [{upTo: 200, ceiling: 0}, {upTo: 1000, ceiling: 0}]}")
	dirtyThenClean(t, cluster, 5*time.Minute)
	ns := namespace(t, cluster)
	create(t, cluster, pod(ns, "late", tolerant(v1alpha1.PolicyAnnotation, "closed", v1alpha1.DeadlineAnnotation, "8s", v1alpha1.DurationAnnotation, "1s")))
	awaitGated(t, cluster, ns, 1)
	awaitScheduled(t, cluster, ns, 1, patience)
}

func TestBucketsAreValidated(t *testing.T) {
	for name, tt := range map[string]struct{ spec, want string }{
		"not ascending":    {"spec: {buckets: [{upTo: 400, ceiling: 1}, {upTo: 200, ceiling: 2}]}", "must be in ascending order of upTo"},
		"twice":            {"spec: {buckets: [{upTo: 400, ceiling: 1}, {upTo: 400, ceiling: 2}]}", "must have a different upTo for each bucket"},
		"negative ceiling": {"spec: {buckets: [{upTo: 400, ceiling: -1}]}", "should be greater than or equal to 0"},
		"negative bound":   {"spec: {buckets: [{upTo: -4, ceiling: 1}]}", "should be greater than or equal to 0"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tryPolicy(t.Context(), "buckets", tt.spec); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

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

	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/test/env"
)

// What these tests forge, an admission policy keeps tenants from writing; they write as
// the administrator, as if it were not installed.

// forged are the annotations of something that was never decided on and says that it
// was.
func forged(policy string, more ...string) map[string]string {
	return tolerant(append([]string{gating.DelayTolerant, "", gating.PolicyName, policy}, more...)...)
}

// labelled says on a pod or Job in what state it is.
func labelled[T client.Object](o T, state string) T {
	o.SetLabels(map[string]string{gating.State: state})
	return o
}

// owned has a pod say that a Job is its controller.
func owned(p *corev1.Pod, by *batchv1.Job) *corev1.Pod {
	p.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "batch/v1", Kind: "Job", Name: by.Name, UID: by.UID, Controller: ptr(true),
	}}
	p.Finalizers = []string{"example.com/stay"} // or the garbage collector would have it
	return p
}

// awaitPass has the controller plan anew, by a change of a held Job, and waits until
// it has.
func awaitPass(t *testing.T, held *batchv1.Job) {
	t.Helper()
	const passes = "gridlatch_plan_pass_seconds_count"
	before, err := controller.Metric(t.Context(), passes)
	if err != nil {
		t.Fatal(err)
	}
	change(t, cluster, held, func(j *batchv1.Job) { j.Annotations["example.com/touched"] = "yes" })
	env.Eventually(t, patience, func(ctx context.Context) error {
		now, err := controller.Metric(ctx, passes)
		if err == nil && now <= before {
			err = fmt.Errorf("there was no pass")
		}
		return err
	})
}

func TestNoPodReleasesWhatIsNotItsOwn(t *testing.T) {
	annotations := ownPolicy(t, "victims")
	dirtyThenClean(t, cluster, aWhile)
	victims, strangers := namespace(t, cluster), namespace(t, cluster)
	victim := job(victims, "nightly", annotations, 2)
	create(t, cluster, victim)
	awaitPods(t, cluster, victims, wantGated(2, 0))
	awaitHeld(t, "victims", 1, 2)
	const past = "2000-01-01T00:00:00Z"
	promise := forged("victims", gating.LatestStart, past)
	elsewhere := labelled(owned(pod(strangers, "elsewhere", promise), victim), gating.StateHeld)
	ungated := labelled(owned(pod(victims, "ungated", promise), victim), gating.StateHeld)
	gated := labelled(owned(pod(victims, "gated", promise), victim), gating.StateHeld)
	gated.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: gating.Gate}}
	t.Cleanup(func() {
		for _, p := range []*corev1.Pod{elsewhere, ungated, gated} {
			_, err := cluster.Kubectl(context.WithoutCancel(t.Context()), "patch", "pod", "-n", p.Namespace, p.Name, "--type=merge", `-p={"metadata":{"finalizers":null}}`)
			if client.IgnoreNotFound(err) != nil && !strings.Contains(err.Error(), "NotFound") {
				t.Error(err)
			}
		}
	})
	create(t, cluster, elsewhere, ungated, gated)
	awaitPass(t, victim)
	var now batchv1.Job
	if err := cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(victim), &now); err != nil {
		t.Fatal(err)
	}
	if now.Labels[gating.State] != gating.StateHeld {
		t.Fatalf("a stranger has released the Job: %v", now.Annotations)
	}
	awaitPods(t, cluster, victims, func(pods []corev1.Pod) error {
		for _, p := range pods {
			if p.Name != "ungated" && p.Name != "gated" && !gating.HasGate(p.Spec.SchedulingGates) {
				return fmt.Errorf("pod %s is released: %v", p.Name, p.Annotations)
			}
		}
		return nil
	})
}

func TestClaimsTakeNoRoom(t *testing.T) {
	policy(t, "roomy", "spec: {locations: [{name: "+location+"}], buckets: [{upTo: 1000, ceiling: 2}]}")
	if err := cluster.Forecast(t.Context(), env.Elements(location, time.Now().Add(-time.Minute), time.Hour, 150, 400, 400)...); err != nil {
		t.Fatal(err)
	}
	awaitIntensity(t, cluster, 150)
	ns := namespace(t, cluster)
	claim := labelled(job(ns, "claim", forged("roomy", gating.Started, "2099-01-01T00:00:00Z", "gridlatch.dev/pods", "2000000000"), 1), gating.StateReleased)
	claim.Spec.Suspend = ptr(true)
	wide := labelled(job(ns, "wide", forged("roomy", gating.Started, "2099-01-01T00:00:00Z"), 0), gating.StateReleased)
	create(t, cluster, claim, wide)
	for i := range 5 { // which fit nowhere
		p := labelled(pod(ns, fmt.Sprint("homeless-", i), forged("roomy", gating.Started, "2099-01-01T00:00:00Z")), gating.StateReleased)
		p.Spec.NodeSelector = map[string]string{"example.com/no-node": "has-this"}
		create(t, cluster, p)
	}
	other := namespace(t, cluster)
	create(t, cluster, job(other, "real", tolerant(gating.PolicyName, "roomy"), 2))
	awaitScheduled(t, cluster, other, 2, patience)
}

func TestNobodysAnnotationsFillTheCache(t *testing.T) {
	const jobs, most = 250, 32 // of 250 kB each; MiB
	before, err := controller.Memory("VmRSS")
	if err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, cluster)
	junk := strings.Repeat("x", 250_000)
	for i := range jobs {
		j := labelled(job(ns, fmt.Sprint("junk-", i), map[string]string{"gridlatch.dev/junk": junk}, 1), gating.StateHeld)
		j.Spec.Suspend = ptr(true)
		create(t, cluster, j)
	}
	env.Eventually(t, 2*time.Minute, func(ctx context.Context) error {
		after, err := controller.Memory("VmRSS")
		if err == nil && after > before+most {
			err = fmt.Errorf("%.0f MiB, before %.0f", after, before)
		}
		return err
	})
}

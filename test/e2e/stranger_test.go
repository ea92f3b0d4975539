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
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// What these tests forge, an admission policy keeps tenants from writing, and the
// webhook strips. They write it as the administrator, on what exists already.

// forged are the annotations of something that was never decided on and says that it
// was.
func forged(policy string, more ...string) map[string]string {
	return tolerant(append([]string{v1alpha1.DelayTolerantAnnotation, "", v1alpha1.PolicyAnnotation, policy}, more...)...)
}

// forge creates a pod or Job, and has it say that it was decided on.
func forge(t *testing.T, o client.Object, state string, annotations map[string]string) {
	t.Helper()
	create(t, cluster, o)
	before := o.DeepCopyObject().(client.Object)
	o.SetLabels(map[string]string{v1alpha1.StateLabel: state})
	o.SetAnnotations(annotations)
	if err := cluster.Client.Patch(t.Context(), o, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
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
	promise := forged("victims", v1alpha1.LatestStartAnnotation, past)
	elsewhere, ungated := owned(pod(strangers, "elsewhere", nil), victim), owned(pod(victims, "ungated", nil), victim)
	t.Cleanup(func() {
		for _, p := range []*corev1.Pod{elsewhere, ungated} {
			_, err := cluster.Kubectl(context.WithoutCancel(t.Context()), "patch", "pod", "-n", p.Namespace, p.Name, "--type=merge", `-p={"metadata":{"finalizers":null}}`)
			if err != nil && !strings.Contains(err.Error(), "NotFound") {
				t.Error(err)
			}
		}
	})
	forge(t, elsewhere, v1alpha1.StateHeld, promise)
	forge(t, ungated, v1alpha1.StateHeld, promise)
	pods, err := podsOf(t.Context(), cluster, victims)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods { // a real one, too, whose Job speaks for it
		if pods[i].Name != ungated.Name {
			change(t, cluster, &pods[i], func(p *corev1.Pod) { p.Annotations[v1alpha1.LatestStartAnnotation] = past })
			break
		}
	}
	awaitPass(t, victim)
	var now batchv1.Job
	if err := cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(victim), &now); err != nil {
		t.Fatal(err)
	}
	if now.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld {
		t.Fatalf("a stranger has released the Job: %v", now.Annotations)
	}
	awaitPods(t, cluster, victims, func(pods []corev1.Pod) error {
		for _, p := range pods {
			if p.Name != ungated.Name && !hold.HasGate(p.Spec.SchedulingGates) {
				return fmt.Errorf("pod %s is released: %v", p.Name, p.Annotations)
			}
		}
		return nil
	})
}

func TestClaimsTakeNoRoom(t *testing.T) {
	carbonPolicy(t, "roomy", "spec: {locations: [{name: "+location+"}], buckets: [{upTo: 1000, ceiling: 2}]}")
	if err := cluster.Forecast(t.Context(), env.Elements(location, time.Now().Add(-time.Minute), time.Hour, 150, 400, 400)...); err != nil {
		t.Fatal(err)
	}
	awaitIntensity(t, cluster, 150)
	ns := namespace(t, cluster)
	claims := forged("roomy", v1alpha1.StartedAnnotation, "2099-01-01T00:00:00Z", "gridlatch.dev/pods", "2000000000")
	claim := job(ns, "claim", nil, 2_000_000_000)
	claim.Spec.Suspend = ptr(true)
	forge(t, claim, v1alpha1.StateReleased, claims)
	for i := range 5 { // which fit nowhere
		p := pod(ns, fmt.Sprint("homeless-", i), nil)
		p.Spec.NodeSelector = map[string]string{"example.com/no-node": "has-this"}
		forge(t, p, v1alpha1.StateReleased, claims)
	}
	other := namespace(t, cluster)
	create(t, cluster, job(other, "real", tolerant(v1alpha1.PolicyAnnotation, "roomy"), 2))
	awaitScheduled(t, cluster, other, 2, patience)
}

func TestNobodysAnnotationsFillTheCache(t *testing.T) {
	const jobs, most = 200, 32 // of 250 kB each; MiB
	before, err := controller.Memory("VmRSS")
	if err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, cluster)
	t.Cleanup(func() { // each change of such a Job costs the API server much
		err := cluster.Client.DeleteAllOf(context.WithoutCancel(t.Context()), &batchv1.Job{}, client.InNamespace(ns), client.PropagationPolicy(metav1.DeletePropagationBackground))
		if err != nil {
			t.Error(err)
		}
	})
	junk := strings.Repeat("x", 250_000)
	for i := range jobs {
		j := job(ns, fmt.Sprint("junk-", i), nil, 1)
		j.Spec.Suspend = ptr(true)
		forge(t, j, v1alpha1.StateHeld, map[string]string{"gridlatch.dev/junk": junk})
	}
	env.Eventually(t, 2*time.Minute, func(context.Context) error {
		after, err := controller.Memory("VmRSS")
		if err == nil && after > before+most {
			err = fmt.Errorf("%.0f MiB, before %.0f", after, before)
		}
		return err
	})
}

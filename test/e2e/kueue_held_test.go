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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// withKueue is a cluster with Kueue, which does not manage the namespace "unmanaged", and Gridlatch.
func withKueue(t *testing.T) (*env.Cluster, *env.Controller) {
	t.Helper()
	c := env.Start(t, env.Nodes(2))
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	c.JobSet(t)
	c.Trainer(t)
	c.Kueue(t, "unmanaged")
	quota(t, c)
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Install(t.Context(), port, "jobset", "trainer", "kueue"); err != nil {
		t.Fatal(err)
	}
	g := c.Controller(t, port)
	if err := c.AwaitWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, g
}

// podOfGroup is one of two pods that Kueue admits together.
func podOfGroup(ns, name string) *corev1.Pod {
	p := pod(ns, name, tolerant("kueue.x-k8s.io/pod-group-total-count", "2"))
	p.Labels = map[string]string{hold.KueueQueueLabel: "queue", "kueue.x-k8s.io/pod-group-name": "group"}
	return p
}

func inQueue(o client.Object) client.Object {
	o.SetLabels(map[string]string{hold.KueueQueueLabel: "queue"})
	o.SetAnnotations(tolerant())
	return o
}

// awaitState waits until an object has a state, and our gate at its queue or not.
func awaitState(t *testing.T, c *env.Cluster, o client.Object, state string, isAtQueue bool) {
	t.Helper()
	awaitObject(t, c, o, func() error {
		if got := o.GetLabels()[v1alpha1.StateLabel]; got != state || hold.IsAtQueue(o.GetAnnotations()) != isAtQueue {
			return fmt.Errorf("%T %s is %q, want %q; %v", o, o.GetName(), got, state, o.GetAnnotations())
		}
		return nil
	})
}

func admitted(w *unstructured.Unstructured) error { return isTrue(w, "Admitted") }

func TestWorkInAQueueOfKueueIsHeldBeforeItHasQuota(t *testing.T) {
	t.Parallel()
	c, _ := withKueue(t)
	dirtyThenClean(t, c, 5*time.Minute)
	ns, byDefault := namespace(t, c), namespace(t, c)
	localQueue(t, c, ns, "queue")
	localQueue(t, c, byDefault, "default")
	trainingRuntime(t, c, ns)
	whole := []client.Object{inQueue(job(ns, "job", nil, 1)), inQueue(jobSet(t, ns, "set", "")), inQueue(trainJob(t, ns, "train", false)), inQueue(pod(ns, "pod", nil))}
	suspending := job(byDefault, "suspending", tolerant(v1alpha1.HoldAnnotation, v1alpha1.HoldBySuspend), 1)
	bounded := job(byDefault, "bounded", tolerant(), 1)
	bounded.Spec.ActiveDeadlineSeconds = ptr(int64(600))
	whole = append(whole, suspending, bounded)
	group := []client.Object{podOfGroup(ns, "one"), podOfGroup(ns, "two")}
	for _, o := range append(whole, group...) {
		create(t, c, o)
	}
	for _, o := range whole {
		awaitState(t, c, o, v1alpha1.StateHeld, true)
		awaitWorkload(t, c, o, isGated)
	}
	awaitWorkload(t, c, group[0], isGated)
	out, _, err := pluginAs(t, c.Kubeconfig, "explain", "job/job", "--namespace="+ns)
	if err != nil || !strings.Contains(out, "its queue in Kueue") {
		t.Errorf("explained: %v\n%s", err, out)
	}
	noneRuns(t, c, ns, byDefault)
	cleanNow(t, c)
	for _, o := range append(whole, group...) {
		awaitState(t, c, o, v1alpha1.StateReleased, false)
	}
	for _, o := range append(whole, group[0]) {
		awaitWorkload(t, c, o, admitted)
	}
	for _, o := range []client.Object{whole[3], group[0], group[1]} {
		awaitOnNode(t, c, o.(*corev1.Pod))
	}
	for _, j := range []*batchv1.Job{whole[0].(*batchv1.Job), suspending, bounded} {
		awaitJob(t, c, j, patience, func(j *batchv1.Job) error {
			if j.Status.Succeeded == 0 {
				return fmt.Errorf("Job %s has not run: %+v", j.Name, j.Status)
			}
			return nil
		})
	}
}

// awaitOnNode waits until a pod has a node. No gate is left on the pod then.
func awaitOnNode(t *testing.T, c *env.Cluster, p *corev1.Pod) {
	t.Helper()
	awaitObject(t, c, p, func() error {
		if p.Spec.NodeName == "" {
			return fmt.Errorf("pod %s is not scheduled: gates %v", p.Name, p.Spec.SchedulingGates)
		}
		return nil
	})
}

// noneRuns fails if a pod of a namespace has a node, or a Job there is not suspended.
func noneRuns(t *testing.T, c *env.Cluster, namespaces ...string) {
	t.Helper()
	for _, ns := range namespaces {
		pods, err := podsOf(t.Context(), c, ns)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pods {
			if p.Spec.NodeName != "" {
				t.Errorf("pod %s runs", p.Name)
			}
		}
		var jobs batchv1.JobList
		if err := c.Client.List(t.Context(), &jobs, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs.Items {
			if !isSuspended(j) {
				t.Errorf("Job %s is not suspended", j.Name)
			}
		}
	}
}

func TestWorkThatKueueDoesNotManageIsNotShownAsHeldAtItsQueue(t *testing.T) {
	t.Parallel()
	const ns = "unmanaged"
	c, _ := withKueue(t)
	dirtyThenClean(t, c, 5*time.Minute)
	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	localQueue(t, c, ns, "queue")
	abandoned, set, alone := inQueue(job(ns, "job", nil, 1)), inQueue(jobSet(t, ns, "set", "")), inQueue(pod(ns, "pod", nil))
	create(t, c, abandoned, set, alone)
	for _, o := range []client.Object{abandoned, set} {
		env.Eventually(t, 2*time.Minute, func(ctx context.Context) error {
			if err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			notes := o.GetAnnotations()
			if o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateReleased || notes[v1alpha1.OutcomeAnnotation] != v1alpha1.OutcomeNotHeld || hold.IsAtQueue(notes) {
				return fmt.Errorf("%s: %v", o.GetName(), notes)
			}
			return nil
		})
		if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.HasPrefix(reason, "not held: it is suspended, and Kueue has no Workload for it") {
			t.Errorf("%s: %s", o.GetName(), reason)
		}
	}
	if !isSuspended(*abandoned.(*batchv1.Job)) {
		t.Error("we have resumed what Kueue has suspended")
	}
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(alone), alone); err != nil || !hold.HasGate(alone.(*corev1.Pod).Spec.SchedulingGates) {
		t.Errorf("the pod is not held by its gate: %v", err)
	}
	cleanNow(t, c)
	awaitState(t, c, alone, v1alpha1.StateReleased, false)
}

// The cluster has no Kueue.
func TestAJobInAQueueThatNobodyManagesIsHeldByOurOwnMeans(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	ns := namespace(t, cluster)
	gated, bounded := inQueue(job(ns, "gated", nil, 2)).(*batchv1.Job), inQueue(job(ns, "bounded", nil, 1)).(*batchv1.Job)
	bounded.Spec.ActiveDeadlineSeconds = ptr(int64(600))
	create(t, cluster, gated, bounded)
	for j, by := range map[*batchv1.Job]string{gated: "", bounded: v1alpha1.HoldBySuspend} {
		awaitJob(t, cluster, j, patience, func(j *batchv1.Job) error {
			if j.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld || hold.HeldBy(j.Annotations) != by || isSuspended(*j) != (by != "") {
				return fmt.Errorf("suspended %t, %v %v", isSuspended(*j), j.Labels, j.Annotations)
			}
			return nil
		})
	}
	awaitGatedWithin(t, cluster, ns, 2, patience)
	cleanNow(t, cluster)
	for _, j := range []*batchv1.Job{gated, bounded} {
		awaitJob(t, cluster, j, patience, func(j *batchv1.Job) error {
			if j.Status.Succeeded == 0 {
				return fmt.Errorf("Job %s has not run: %v", j.Name, j.Annotations)
			}
			return nil
		})
	}
}

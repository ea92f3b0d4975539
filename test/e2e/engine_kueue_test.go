package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/test/env"
)

// gatedBy names those whom Kueue waits for before it admits what it manages.
const gatedBy = "kueue.x-k8s.io/admission-gated-by"

// TestKueueDoesWhatWeRelyOn has no Gridlatch on its cluster.
func TestKueueDoesWhatWeRelyOn(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	c.JobSet(t)
	c.Trainer(t)
	c.Kueue(t, "unmanaged")
	quota(t, c)
	for name, check := range map[string]func(*testing.T, *env.Cluster, string){
		"a Job in a queue is admitted":                                          kueueAdmits,
		"a gated Job is admitted when the annotation is emptied":                kueueWaitsForGate(""),
		"a gated Job is admitted when the annotation is removed":                kueueWaitsForGate("null"),
		"a gated JobSet or TrainJob, or a gated pod, waits as a Job does":       kueueGatesOtherKinds,
		"a gate cannot be added later":                                          kueueTakesNoLateGate,
		"a Job that is suspended already runs once it is admitted":              kueueResumesWhatOthersSuspended,
		"a gated Job that somebody resumes is suspended again":                  kueueSuspendsAgain,
		"a Job without a label gets the default queue":                          kueueDefaultsQueue,
		"a Job of a namespace that is not managed stays suspended all the same": kueueAbandons,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, c, namespace(t, c))
		})
	}
}

// queued is a Job in the queue "queue".
func queued(ns, name string, annotations map[string]string) *batchv1.Job {
	j := job(ns, name, annotations, 1)
	j.Labels = map[string]string{queueLabel: "queue"}
	return j
}

func gated() map[string]string { return map[string]string{gatedBy: "example.com/test"} }

func kueueAdmits(t *testing.T, c *env.Cluster, ns string) {
	localQueue(t, c, ns, "queue")
	j := queued(ns, "admitted", nil)
	create(t, c, j)
	if !isSuspended(*j) {
		t.Error("Kueue's webhook has not suspended the Job")
	}
	awaitAdmitted(t, c, j)
}

// awaitAdmitted waits until Kueue has admitted a Job and resumed it, with the
// label on its pods by which one knows.
func awaitAdmitted(t *testing.T, c *env.Cluster, j *batchv1.Job) {
	t.Helper()
	awaitWorkload(t, c, j, func(w *unstructured.Unstructured) error { return isTrue(w, "Admitted") })
	awaitObject(t, c, j, func() error {
		if label := j.Spec.Template.Labels["kueue.x-k8s.io/podset"]; isSuspended(*j) || label == "" {
			return fmt.Errorf("suspended %t, the label is %q", isSuspended(*j), label)
		}
		return nil
	})
}

// isGated fails if Kueue does not say of a Workload that it waits for a gate.
func isGated(w *unstructured.Unstructured) error {
	conditions, _, _ := unstructured.NestedSlice(w.Object, "status", "conditions") // none is not gated
	if !strings.Contains(fmt.Sprint(conditions), "AdmissionGated") {
		return fmt.Errorf("conditions %v", conditions)
	}
	return nil
}

func kueueWaitsForGate(value string) func(*testing.T, *env.Cluster, string) {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, gatedBy, value)
	if value == "null" {
		patch = annotate(gatedBy, "")
	}
	return func(t *testing.T, c *env.Cluster, ns string) {
		localQueue(t, c, ns, "queue")
		j := queued(ns, "gated", gated())
		create(t, c, j)
		awaitWorkload(t, c, j, isGated)
		stays(t, c, j, 2*time.Second, func() error {
			if !isSuspended(*j) {
				return fmt.Errorf("the Job runs")
			}
			return nil
		})
		amend(t, c, j, patch)
		awaitAdmitted(t, c, j)
	}
}

func kueueGatesOtherKinds(t *testing.T, c *env.Cluster, ns string) {
	localQueue(t, c, ns, "queue")
	trainingRuntime(t, c, ns)
	plain := pod(ns, "plain", nil)
	objects := []client.Object{jobSet(t, ns, "set", ""), trainJob(t, ns, "train", false), plain}
	for _, o := range objects {
		o.SetLabels(map[string]string{queueLabel: "queue"})
		o.SetAnnotations(gated())
		create(t, c, o)
	}
	for _, o := range objects {
		awaitWorkload(t, c, o, isGated)
	}
	awaitSuspended(t, c, ns, map[string]bool{"set-first-0": true, "set-second-0": true, "train-node-0": true})
	for _, o := range objects {
		amend(t, c, o, annotate(gatedBy, ""))
		awaitWorkload(t, c, o, func(w *unstructured.Unstructured) error { return isTrue(w, "Admitted") })
	}
	awaitSuspended(t, c, ns, map[string]bool{"set-first-0": false, "set-second-0": false, "train-node-0": false})
	awaitOnNode(t, c, plain)
}

func kueueTakesNoLateGate(t *testing.T, c *env.Cluster, ns string) {
	j := job(ns, "late", nil, 1)
	create(t, c, j)
	patch := client.RawPatch(types.MergePatchType, []byte(annotate(gatedBy, "example.com/test")))
	if err := c.Client.Patch(t.Context(), j, patch); !apierrors.IsForbidden(err) {
		t.Errorf("the error is %v", err)
	}
}

func kueueResumesWhatOthersSuspended(t *testing.T, c *env.Cluster, ns string) {
	localQueue(t, c, ns, "queue")
	j := queued(ns, "suspended", nil)
	j.Spec.Suspend = ptr(true)
	create(t, c, j)
	awaitAdmitted(t, c, j)
}

func kueueSuspendsAgain(t *testing.T, c *env.Cluster, ns string) {
	localQueue(t, c, ns, "queue")
	j := queued(ns, "resumed", gated())
	create(t, c, j)
	awaitWorkload(t, c, j, isGated)
	amend(t, c, j, resumed)
	awaitSuspended(t, c, ns, map[string]bool{"resumed": true})
	awaitPods(t, c, ns, func(pods []corev1.Pod) error {
		if len(pods) > 0 {
			return fmt.Errorf("%d pods are left", len(pods))
		}
		return nil
	})
}

func kueueDefaultsQueue(t *testing.T, c *env.Cluster, ns string) {
	localQueue(t, c, ns, "default")
	j := job(ns, "unlabelled", nil, 1)
	create(t, c, j)
	if got := j.Labels[queueLabel]; got != "default" || !isSuspended(*j) {
		t.Errorf("the Job's queue is %q, and suspended is %t", got, isSuspended(*j))
	}
	awaitAdmitted(t, c, j)
}

// kueueAbandons shows a trap: Kueue's webhook suspends what names a queue, and
// its controller does not look there.
func kueueAbandons(t *testing.T, c *env.Cluster, _ string) {
	const ns = "unmanaged"
	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	localQueue(t, c, ns, "queue")
	j := queued(ns, "abandoned", nil)
	create(t, c, j)
	stays(t, c, j, 3*time.Second, func() error {
		w, err := workload(t.Context(), c, j)
		if err != nil || w != nil || !isSuspended(*j) {
			return fmt.Errorf("suspended %t, Workload %v, error %w", isSuspended(*j), w, err)
		}
		return nil
	})
	amend(t, c, j, resumed)
	env.Eventually(t, patience, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(j), j); err != nil {
			return err
		}
		if j.Status.Succeeded == 0 {
			return fmt.Errorf("the Job has not run: %+v", j.Status)
		}
		return nil
	})
}

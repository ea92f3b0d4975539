package hold

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func builtin() *policy.Policy {
	return policy.New(context.Background(), v1alpha1.Default(), "gridlatch-system", nil, t0)
}

// server is an API server with objects. It refuses the patches for which refuse returns an error,
// and answers as a real one where the test of a JSON patch fails.
func server(refuse func(o client.Object, patch string) error, objects ...client.Object) client.Client {
	return fake.NewClientBuilder().WithObjects(objects...).
		WithIndex(&corev1.Pod{}, "status.phase", func(o client.Object) []string { return []string{string(o.(*corev1.Pod).Status.Phase)} }).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }).
		WithInterceptorFuncs(interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
				data, err := patch.Data(o)
				if err != nil {
					return err
				}
				if refuse != nil {
					if err := refuse(o, string(data)); err != nil {
						return err
					}
				}
				err = c.Patch(ctx, o, patch, options...)
				if status := apierrors.APIStatus(nil); err != nil && patch.Type() == types.JSONPatchType && !errors.As(err, &status) {
					return apierrors.NewInvalid(JobKind().GroupKind(), o.GetName(), nil)
				}
				return err
			},
		}).Build()
}

// gatedPod is a held pod without a Job.
func gatedPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: types.UID(name), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}},
		Spec:       corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
}

// jobIn is a Job in a state, with annotations in pairs.
func jobIn(state, name string, annotations ...string) *batchv1.Job {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: "n", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(t0),
		Labels: map[string]string{}, Annotations: map[string]string{},
	}}
	if state != "" {
		job.Labels[v1alpha1.StateLabel] = state
	}
	for i := 0; i < len(annotations); i += 2 {
		job.Annotations[annotations[i]] = annotations[i+1]
	}
	return job
}

// heldItself suspends a Job, as we hold it.
func heldItself(job *batchv1.Job, by string) *batchv1.Job {
	yes := true
	job.Spec.Suspend, job.Annotations[v1alpha1.HeldByAnnotation] = &yes, by
	return job
}

// ownedBy makes a pod one of a Job's.
func ownedBy(pod *corev1.Pod, job *batchv1.Job) *corev1.Pod {
	pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(job, JobKind())}
	return pod
}

// read returns an object as the API server has it.
func read[T client.Object](t *testing.T, c client.Client, o T) T {
	t.Helper()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	return o
}

// gatedPods are an API server with held pods, some of which cannot be changed.
func gatedPods(t *testing.T, n int, refused func(name string) bool) client.Client {
	t.Helper()
	var pods []client.Object
	for i := range n {
		pods = append(pods, gatedPod(fmt.Sprintf("pod-%02d", i)))
	}
	return server(func(o client.Object, _ string) error {
		if refused(o.GetName()) {
			return apierrors.NewForbidden(corev1.Resource("pods"), o.GetName(), errors.New("not in\x1b my house"))
		}
		return nil
	}, pods...)
}

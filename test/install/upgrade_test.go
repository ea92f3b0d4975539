package install_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// another is the part of a kustomization that makes it another version: with another image and other
// arguments.
const another = `- target: {kind: Deployment, name: gridlatch}
  patch: |
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --workers=20}
images:
- {name: gridlatch, newTag: another}
`

// plan is what held work shows of its plan.
type plan map[string]string

// planOf returns the plan of the Job's pod, and of what else is held.
func (w *heldWork) planOf(t *testing.T) map[string]plan {
	t.Helper()
	var pods corev1.PodList
	if err := w.site.Client.List(t.Context(), &pods, client.InNamespace(w.Namespace), client.MatchingLabels{batchv1.JobNameLabel: w.Name}); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 1 || !hold.HasGate(pods.Items[0].Spec.SchedulingGates) {
		t.Fatalf("want one pod with our gate: %v", pods.Items)
	}
	if suspended, max, err := w.read(t.Context()); err != nil || !suspended || max != 1 {
		t.Fatalf("the Job is suspended: %t; maxReplicaCount is %d; %v", suspended, max, err)
	}
	plans := map[string]plan{}
	for _, o := range []client.Object{&pods.Items[0], w.suspended, w.scaled} {
		shown := plan{}
		for _, key := range []string{
			v1alpha1.PlannedStartAnnotation, v1alpha1.LatestStartAnnotation, v1alpha1.HeldByAnnotation,
			v1alpha1.OriginalMaxReplicaCountAnnotation, v1alpha1.CeilingAnnotation,
		} {
			if value, ok := o.GetAnnotations()[key]; ok {
				shown[key] = value
			}
		}
		plans[string(o.GetUID())] = shown
	}
	return plans
}

// testUpgrade upgrades and rolls back while work is held and while work is created. In the end, the work starts by
// its plan.
func (s *site) testUpgrade(t *testing.T) {
	if err := s.node.Tag(t.Context(), env.ImageName, "docker.io/library/gridlatch:another"); err != nil {
		t.Fatal(err)
	}
	s.install(t)
	w := s.hold(t, 30*time.Minute)
	before := w.planOf(t)
	for _, step := range []struct{ name, kustomization string }{
		{"upgrade", s.kustomization + another}, {"roll-back", s.kustomization},
	} {
		created := s.createDuring(t, w.Namespace, func() {
			if err := s.Apply(t.Context(), step.kustomization); err != nil {
				t.Fatal(err)
			}
			if err := s.AwaitInstalled(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.awaitNoPodEnding(t)
		})
		if diff := cmp.Diff(before, w.planOf(t)); diff != "" {
			t.Errorf("the %s has changed the plan (-before +after):\n%s", step.name, diff)
		}
		held := 0
		for i := range created {
			if err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(&created[i]), &created[i]); err != nil {
				t.Fatal(err)
			}
			if hold.HasGate(created[i].Spec.SchedulingGates) {
				held++
			} else { // the webhook's failurePolicy is Ignore
				t.Logf("pod %d of %d is not held: %s", i, len(created), created[i].Annotations[v1alpha1.ReasonAnnotation])
			}
			if err := s.Client.Delete(t.Context(), &created[i]); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%s: %d of %d pods that were created meanwhile are held", step.name, held, len(created))
		if held < len(created)/2 {
			t.Errorf("most pods are not held that were created during the %s", step.name)
		}
	}
	w.Replan(t, 20*time.Second)
	w.AwaitCompletion(t)
}

// createDuring creates pods that may wait for as long as a change takes.
func (s *site) createDuring(t *testing.T, namespace string, change func()) (created []corev1.Pod) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			job := env.StoryJob(namespace)
			pod := corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "during-", Annotations: job.Annotations},
				Spec:       job.Spec.Template.Spec,
			}
			if err := s.Client.Create(t.Context(), &pod); err != nil {
				t.Error(err)
				return
			}
			created = append(created, pod)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	change()
	stop()
	<-ended
	return created
}

// awaitNoPodEnding returns when no pod of Gridlatch is being deleted: the roll-out is wholly over.
func (s *site) awaitNoPodEnding(t *testing.T) {
	t.Helper()
	env.Eventually(t, time.Minute, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, client.InNamespace(env.Namespace)); err != nil {
			return err
		}
		for i := range pods.Items {
			if pods.Items[i].DeletionTimestamp != nil {
				return fmt.Errorf("pod %s is being deleted", pods.Items[i].Name)
			}
		}
		return nil
	})
}

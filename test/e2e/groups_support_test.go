package e2e

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// aWhile is for how long the grid stays dirty in tests that do not wait for it.
const aWhile = 5 * time.Minute

// warnedClient returns a client, and what the API server warns it of.
func warnedClient(t *testing.T, c *env.Cluster) (client.Client, *bytes.Buffer) {
	t.Helper()
	warnings := &bytes.Buffer{}
	config := rest.CopyConfig(c.Config)
	config.WarningHandler = rest.NewWarningWriter(warnings, rest.WarningWriterOptions{})
	warned, err := client.New(config, client.Options{Scheme: c.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return warned, warnings
}

// createWarned creates an object, and returns what the API server warns of.
func createWarned(t *testing.T, c *env.Cluster, o client.Object, options ...client.CreateOption) string {
	t.Helper()
	warned, warnings := warnedClient(t, c)
	if err := warned.Create(t.Context(), o, options...); err != nil {
		t.Fatal(err)
	}
	return warnings.String()
}

// ownPolicy makes a policy for one test, which the webhook knows, so that what
// is held can be counted. It returns the annotations of work that waits by it.
func ownPolicy(t *testing.T, name string) map[string]string {
	t.Helper()
	carbonPolicy(t, name, "")
	annotations := tolerant(v1alpha1.PolicyAnnotation, name)
	env.Eventually(t, patience, func(ctx context.Context) error {
		return cluster.Client.Create(ctx, pod("default", "probe", annotations), client.DryRunAll)
	})
	return annotations
}

// awaitHeld waits until a policy holds as many groups and pods by its status
// and by the metrics.
func awaitHeld(t *testing.T, name string, groups, pods int) {
	t.Helper()
	awaitPolicy(t, name, func(p *v1alpha1.CarbonPolicy) error {
		if held := p.Status.Held; int(held.Groups) != groups || int(held.Pods) != pods {
			return fmt.Errorf("status %+v, want %d groups, %d pods", held, groups, pods)
		}
		for metric, want := range map[string]int{"gridlatch_held_groups": groups, "gridlatch_held_pods": pods} {
			if got, err := controller.Metric(t.Context(), metric, `policy="`+name+`"`); err != nil || int(got) != want {
				return fmt.Errorf("%s is %v, want %d: %w", metric, got, want, err)
			}
		}
		return nil
	})
}

// awaitPods waits until check has nothing to say on the pods of a namespace.
func awaitPods(t *testing.T, c *env.Cluster, namespace string, check func([]corev1.Pod) error) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		pods, err := podsOf(ctx, c, namespace)
		if err != nil {
			return err
		}
		return check(pods)
	})
}

// wantGated wants some of the pods to be gated, and the others on a node.
func wantGated(gated, scheduled int) func([]corev1.Pod) error {
	return func(pods []corev1.Pod) error {
		var g, s int
		for _, p := range pods {
			switch {
			case hold.HasGate(p.Spec.SchedulingGates):
				g++
			case p.Spec.NodeName != "":
				s++
			}
		}
		if g != gated || s != scheduled || len(pods) != g+s {
			return fmt.Errorf("of %d pods, %d are gated and %d scheduled, want %d and %d", len(pods), g, s, gated, scheduled)
		}
		return nil
	}
}

// change writes to an object as it is now.
func change[T client.Object](t *testing.T, c *env.Cluster, o T, edit func(T)) {
	t.Helper()
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	before := o.DeepCopyObject().(client.Object)
	edit(o)
	if err := c.Client.Patch(t.Context(), o, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, c *env.Cluster, o client.Object, propagation metav1.DeletionPropagation) {
	t.Helper()
	if err := c.Client.Delete(t.Context(), o, client.PropagationPolicy(propagation)); err != nil {
		t.Fatal(err)
	}
}

// awaitGone waits until an object is no more, nor any other by its name.
func awaitGone(t *testing.T, c *env.Cluster, o client.Object) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("%s is still there: %w", o.GetName(), err)
	})
}

// failing makes a Job whose pods fail after a second.
func failing(j *batchv1.Job) *batchv1.Job {
	if j.Spec.Template.Annotations == nil {
		j.Spec.Template.Annotations = map[string]string{}
	}
	j.Spec.Template.Annotations["kwok.gridlatch.dev/fail"] = "true"
	j.Spec.Template.Annotations["kwok.gridlatch.dev/run-for"] = "1s"
	return j
}

func onExitCode1(action batchv1.PodFailurePolicyAction) *batchv1.PodFailurePolicy {
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
		Action:      action,
		OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{1}},
	}}}
}

func ptr[T any](v T) *T { return &v }

// wantLatestStart wants of tolerant work what follows from its creation: ten
// minutes, less two seconds to run and a margin.
func wantLatestStart(t *testing.T, o client.Object, created time.Time) {
	t.Helper()
	latest, err := time.Parse(time.RFC3339, o.GetAnnotations()[v1alpha1.LatestStartAnnotation])
	if want := created.Add(10*time.Minute - 2*time.Second); err != nil || latest.Sub(want).Abs() > 3*time.Second {
		t.Errorf("%s: latest start %s, want about %s, %v", o.GetName(), latest, want, err)
	}
}

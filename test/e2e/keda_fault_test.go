package e2e

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/test/env"
)

// backsOff has somebody put maxReplicaCount back at once, whenever it changes,
// as a GitOps tool does that heals.
func backsOff(t *testing.T, s *site) {
	s.policy(t, 200, 20, 1000, 5)
	s.intensity(t, 100)
	o := s.scaledObject(t, "web", 3, 50, nil)
	ctx, stop := context.WithCancel(t.Context())
	var reverted atomic.Int32
	healed := make(chan struct{})
	go func() {
		defer close(healed)
		for ctx.Err() == nil {
			if revert(ctx, s.cluster, o.DeepCopy(), 50) {
				reverted.Add(1)
			}
		}
	}()
	t.Cleanup(func() { stop(); <-healed })
	amend(t, s.cluster, o, annotate(v1alpha1.PolicyAnnotation, s.name))
	awaitWarning(t, s, o, ceiling.EventReverted, "ignoreDifferences")
	before := reverted.Load()
	time.Sleep(5 * time.Second)
	if n := reverted.Load() - before; n > 3 {
		t.Errorf("%d changes in 5 s to what is reverted each time", n)
	}
	stop()
	<-healed
	t.Logf("%d changes in all were reverted", reverted.Load())
}

// revert sets maxReplicaCount back if it is another.
func revert(ctx context.Context, c *env.Cluster, o *unstructured.Unstructured, to int64) bool {
	time.Sleep(50 * time.Millisecond)
	if c.Client.Get(ctx, client.ObjectKeyFromObject(o), o) != nil || maxReplicas(o) == to {
		return false
	}
	patch := fmt.Appendf(nil, `{"spec":{"maxReplicaCount":%d}}`, to)
	return c.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch), client.FieldOwner("gitops")) == nil
}

// outlastsARefusal makes KEDA's webhook refuse every change to a ScaledObject:
// its Deployment has another autoscaler.
func outlastsARefusal(t *testing.T, s *site) {
	o := s.follower(t, 100, 20, 200, 20, 1000, 5)
	other := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "other"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, MaxReplicas: 9,
		},
	}
	create(t, s.cluster, other)
	env.Eventually(t, patience, func(ctx context.Context) error { // the webhook has it in its cache
		touch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"example.com/touched":"yes"}}}`))
		if s.cluster.Client.Patch(ctx, o.DeepCopy(), touch, client.DryRunAll) == nil {
			return fmt.Errorf("KEDA's webhook does not refuse yet")
		}
		return nil
	})
	s.intensity(t, 500)
	awaitWarning(t, s, o, ceiling.EventFailed, "already managed by the hpa")
	neighbour := s.scaledObject(t, "neighbour", 3, 50, map[string]string{v1alpha1.PolicyAnnotation: s.name})
	awaitCeiling(t, s.cluster, neighbour, 5)
	if err := s.cluster.Client.Delete(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, time.Minute, func(ctx context.Context) error { // it is tried again ever more slowly
		if err := s.cluster.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil || maxReplicas(o) != 5 {
			return fmt.Errorf("maxReplicaCount is %d, %w", maxReplicas(o), err)
		}
		return nil
	})
}

// outlastsDeletions deletes objects at the moment when they are changed, and
// makes them anew: what was remembered of the old is no concern of the new.
func outlastsDeletions(t *testing.T, s *site) {
	s.policy(t, 200, 20, 1000, 5)
	s.intensity(t, 500)
	for round := range 3 {
		var objects []*unstructured.Unstructured
		for i := range 20 {
			o := env.ScaledObject(s.name, fmt.Sprint("web-", i), 3, int64(50+round))
			o.SetAnnotations(map[string]string{v1alpha1.PolicyAnnotation: s.name})
			create(t, s.cluster, o)
			objects = append(objects, o)
		}
		s.intensity(t, []float64{100, 500}[round%2])
		for _, o := range objects {
			if err := s.cluster.Client.Delete(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range objects {
			awaitGone(t, s.cluster, o)
		}
	}
	s.intensity(t, 100)
	o := env.ScaledObject(s.name, "web-0", 3, 70)
	o.SetAnnotations(map[string]string{v1alpha1.PolicyAnnotation: s.name})
	create(t, s.cluster, o)
	awaitMax(t, s.cluster, o, 20)
	if got := o.GetAnnotations()[v1alpha1.OriginalMaxReplicaCountAnnotation]; got != "70" {
		t.Errorf("remembered %q, want 70", got)
	}
}

// holdsTheLastGood breaks the ConfigMap for all the stories, and they hold, too.
func holdsTheLastGood(t *testing.T, s *site) {
	o := s.follower(t, 100, 20, 200, 20, 1000, 5)
	generation := generationOf(t, s.cluster, o)
	for _, breakage := range []func(context.Context) error{
		s.cluster.DeleteForecast,
		func(ctx context.Context) error { return s.cluster.ForecastData(ctx, []byte(`[{"location":"CAI`)) },
		func(ctx context.Context) error { return s.cluster.ForecastData(ctx, nil) },
	} {
		s.grid.disturb(t, breakage)
		time.Sleep(time.Second)
	}
	if n := generationOf(t, s.cluster, o) - generation; n > 0 {
		t.Errorf("the object has been changed %d times while there was no new forecast", n)
	}
	s.intensity(t, 500)
	awaitCeiling(t, s.cluster, o, 5)
}

// TestAControllerKilledWhileItSetsCeilingsForgetsNothing kills it again and
// again while it changes many objects, and then leaves while all are paused.
func TestAControllerKilledWhileItSetsCeilingsForgetsNothing(t *testing.T) {
	const objects = 150
	flags := []string{"--ceiling-lower-interval=0s", "--leader-elect=false"} // or each would wait for the lease of the one before
	c, g := ownCluster(t, flags...)
	if err := c.InstallKEDA(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, c, g, &grid{cluster: c})
	s.policy(t, 200, 20, 300, 10, 400, 5, 1000, 0)
	var all []*unstructured.Unstructured
	for i := range objects {
		o := env.ScaledObject(s.name, fmt.Sprint("web-", i), 3, int64(50+i))
		o.SetAnnotations(map[string]string{v1alpha1.PolicyAnnotation: s.name})
		create(t, c, o)
		all = append(all, o)
	}
	for _, intensity := range []float64{100, 500, 350, 100} {
		s.intensity(t, intensity)
		awaitSomeChanged(t, c, all)
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		g = c.Controller(t, g.Webhook, flags...)
	}
	s.intensity(t, 500)
	for i, o := range all {
		awaitObject(t, c, o, wantAnnotation(o, "autoscaling.keda.sh/paused-replicas", "0"))
		if got, want := o.GetAnnotations()[v1alpha1.OriginalMaxReplicaCountAnnotation], fmt.Sprint(50+i); got != want {
			t.Fatalf("remembered %q of %s, want %q", got, o.GetName(), want)
		}
	}
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	releaseAll(t, c)
	for i, o := range all {
		awaitMax(t, c, o, int64(50+i))
		awaitUntouched(t, c, o)
		awaitUnowned(t, s, o)
	}
}

// awaitSomeChanged returns as soon as an object is not as it was last read.
func awaitSomeChanged(t *testing.T, c *env.Cluster, all []*unstructured.Unstructured) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		for _, o := range all {
			generation := o.GetGeneration()
			if err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			if o.GetGeneration() != generation {
				return nil
			}
		}
		return fmt.Errorf("nothing has changed")
	})
}

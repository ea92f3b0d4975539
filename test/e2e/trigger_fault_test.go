package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/test/env"
)

// outlivesAReplica kills the replica that KEDA's stream leads to.
func outlivesAReplica(t *testing.T, stage *triggerStage) {
	t.Helper()
	s := stage.site(t)
	s.intensity(t, cleanIntensity)
	o := impatient(s, "web", siteTrigger(s))
	put(t, s, o)
	target := client.ObjectKeyFromObject(o)
	awaitScale(t, s.cluster, target, 5, patience)
	served := stage.serving(t)
	if err := stage.replicas[served].Kill(); err != nil {
		t.Fatal(err)
	}
	keepsScale(t, s.cluster, target, 5)
	if still := stage.serving(t); still == served {
		t.Fatal("the replica that was killed serves the streams")
	}
	s.intensity(t, dirtyIntensity)
	awaitScale(t, s.cluster, target, 0, patience)
	s.intensity(t, cleanIntensity)
	awaitScale(t, s.cluster, target, 5, patience)
	stage.replicas[served] = s.cluster.Controller(t, stage.replicas[served].Webhook, stage.flagsOf(served)...)
}

// serving returns the replica to which KEDA's streams lead.
func (s *triggerStage) serving(t *testing.T) int {
	t.Helper()
	found := -1
	env.Eventually(t, patience, func(ctx context.Context) error {
		for i, replica := range s.replicas {
			if n, err := replica.Metric(ctx, "gridlatch_trigger_streams"); err == nil && n > 0 {
				found = i
				return nil
			}
		}
		return fmt.Errorf("no replica has a stream")
	})
	return found
}

// outlivesKEDA has the grid turn while KEDA's operator is away.
func outlivesKEDA(t *testing.T, stage *triggerStage) {
	t.Helper()
	s := stage.site(t)
	s.intensity(t, dirtyIntensity)
	idle := impatient(s, "idle", siteTrigger(s))
	put(t, s, idle)
	awaitObject(t, s.cluster, idle, wantReady(idle, "True"))
	if err := stage.keda.Operator.Kill(); err != nil {
		t.Fatal(err)
	}
	s.intensity(t, cleanIntensity)
	keepsScale(t, s.cluster, client.ObjectKeyFromObject(idle), 0)
	if err := stage.keda.StartOperator(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitScale(t, s.cluster, client.ObjectKeyFromObject(idle), 5, patience)
}

// doesWithoutTheWebhook has objects come while nobody calls the webhook.
func doesWithoutTheWebhook(t *testing.T, stage *triggerStage) {
	t.Helper()
	s := stage.site(t)
	configuration := &admissionv1.MutatingWebhookConfiguration{}
	key := client.ObjectKey{Name: "gridlatch"}
	if err := s.cluster.Client.Get(t.Context(), key, configuration); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.Client.Delete(t.Context(), configuration); err != nil {
		t.Fatal(err)
	}
	configuration.ObjectMeta = metav1.ObjectMeta{Name: key.Name, Labels: configuration.Labels}
	s.intensity(t, cleanIntensity)
	o, bad := impatient(s, "web", siteTrigger(s)), impatient(s, "bad", siteTrigger(s, "emissionThreshold", "low"))
	env.Eventually(t, patience, func(ctx context.Context) error { // until the API server does not call the webhook any more
		return s.cluster.Client.Create(ctx, bad.DeepCopy(), client.DryRunAll)
	})
	put(t, s, o)
	put(t, s, bad)
	awaitTypes(t, s.cluster, o, "external-push")
	awaitEventSaying(t, s.cluster, o, ceiling.EventTriggerRewritten, "")
	awaitScale(t, s.cluster, client.ObjectKeyFromObject(o), 5, patience)
	awaitWarning(t, s, bad, ceiling.EventTriggerInvalid, "spec.triggers[0].metadata.emissionThreshold")
	awaitTypes(t, s.cluster, bad, "carbon-intensity")
	create(t, s.cluster, configuration)
	if err := s.cluster.AwaitWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// givesTheTriggersBack leaves with objects that are clean, capped and paused.
func givesTheTriggersBack(t *testing.T, stage *triggerStage) {
	t.Helper()
	s := stage.site(t)
	s.intensity(t, dirtyIntensity)
	load := env.LoadTrigger(loadServer(t, 1))
	written := map[string][]map[string]any{
		"alone":  {siteTrigger(s, "region", s.name)},
		"beside": {load, siteTrigger(s)},
		"paused": {siteTrigger(s, "handler", "pause")},
	}
	objects := map[string]*unstructured.Unstructured{}
	for name, triggers := range written {
		objects[name] = impatient(s, name, triggers...)
		put(t, s, objects[name])
	}
	awaitTypes(t, s.cluster, objects["alone"], "external-push")
	awaitTypes(t, s.cluster, objects["beside"], "metrics-api", "external-push")
	awaitObject(t, s.cluster, objects["paused"], wantAnnotation(objects["paused"], "autoscaling.keda.sh/paused", "true"))
	t.Log(releaseAll(t, s.cluster))
	for name, o := range objects {
		awaitObject(t, s.cluster, o, func() error { return wantTriggers(o, written[name]...) })
		awaitUntouched(t, s.cluster, o)
		stays(t, s.cluster, o, steadyFor, func() error { return wantTriggers(o, written[name]...) })
	}
	example := parse(t, verbatim)
	want := triggersOf(example)
	awaitObject(t, s.cluster, example, func() error {
		if diff := cmp.Diff(want, triggersOf(example)); diff != "" {
			return fmt.Errorf("the triggers of the tutorials: %s", diff)
		}
		return nil
	})
}

// wantTriggers is nil if the triggers of an object are these.
func wantTriggers(o *unstructured.Unstructured, want ...map[string]any) error {
	var list []any
	for _, t := range want {
		list = append(list, t)
	}
	if diff := cmp.Diff(list, triggersOf(o)); diff != "" {
		return fmt.Errorf("the triggers of %s: %s", o.GetName(), diff)
	}
	for key := range o.GetAnnotations() {
		if strings.Contains(key, "paused") {
			return fmt.Errorf("%s is paused: %v", o.GetName(), o.GetAnnotations())
		}
	}
	return nil
}

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/trigger"
)

// TestTriggersStayTheirOwners has a controller that rewrites triggers without the help of the webhook. It shows what the
// API server notes of that, and who wins.
func TestTriggersStayTheirOwners(t *testing.T) {
	c, _ := ownCluster(t, "--scaler-bind-address=127.0.0.1:0", "--scaler-address=127.0.0.1:9")
	c.KEDA(t)
	grid := &grid{cluster: c}
	for name, story := range map[string]func(*testing.T, *site){
		"a tool applies them without force":    appliesTriggersWithoutForce,
		"the owner ends the trigger's pause":   endsTheTriggersPause,
		"a pause beside a ceiling of its own":  pausesBesideACeiling,
		"a release gives back all in one step": releasesTriggers,
	} {
		t.Run(name, func(t *testing.T) {
			if name != "a release gives back all in one step" { // which is for all objects
				t.Parallel()
			}
			story(t, newSite(t, c, nil, grid))
		})
	}
}

// carbonObject is a ScaledObject with a carbon-intensity trigger, as people write it.
func (s *site) carbonObject(name string, metadata map[string]any, beside ...any) *unstructured.Unstructured {
	o := env.ScaledObject(s.name, name, 3, 20)
	all := map[string]any{"region": s.name, "policy": s.name, "emissionThreshold": "200"}
	for key, value := range metadata {
		all[key] = value
	}
	o.Object["spec"].(map[string]any)["triggers"] = append(beside, map[string]any{"type": trigger.Type, "metadata": all})
	return o
}

// carbonMetadata returns the metadata of the last trigger of an object, and the trigger's type.
func carbonMetadata(o *unstructured.Unstructured) (metadata map[string]any, kind string) {
	triggers, _, _ := unstructured.NestedSlice(o.Object, "spec", "triggers")
	if len(triggers) == 0 {
		return nil, ""
	}
	last, _ := triggers[len(triggers)-1].(map[string]any)
	metadata, _ = last["metadata"].(map[string]any)
	kind, _ = last["type"].(string)
	return metadata, kind
}

func wantRewritten(o *unstructured.Unstructured, threshold string) func() error {
	return func() error {
		metadata, kind := carbonMetadata(o)
		if kind != "external-push" || metadata["emissionThreshold"] != threshold || metadata["scalerAddress"] != "127.0.0.1:9" {
			return fmt.Errorf("the trigger is %s %v", kind, metadata)
		}
		for _, e := range o.GetManagedFields() {
			if e.Manager == override.Manager {
				return fmt.Errorf("Gridlatch owns %s", e.FieldsV1)
			}
		}
		return nil
	}
}

func appliesTriggersWithoutForce(t *testing.T, s *site) {
	s.policy(t, 1000, 20)
	s.intensity(t, 100)
	o := s.carbonObject("web", nil)
	create(t, s.cluster, env.Deployment(s.name, "web"))
	for _, threshold := range []string{"200", "250"} {
		applied := s.carbonObject("web", map[string]any{"emissionThreshold": threshold})
		text, err := applied.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.cluster.KubectlInput(t.Context(), string(text), "apply", "--server-side", "--field-manager=flux", "-f", "-"); err != nil {
			t.Fatal(err)
		}
		awaitObject(t, s.cluster, o, wantRewritten(o, threshold))
	}
}

func endsTheTriggersPause(t *testing.T, s *site) {
	const paused = "autoscaling.keda.sh/paused"
	s.policy(t, 1000, 20)
	s.intensity(t, 500)
	o := s.carbonObject("web", map[string]any{"handler": "pause"})
	create(t, s.cluster, env.Deployment(s.name, "web"), o)
	awaitObject(t, s.cluster, o, wantAnnotation(o, paused, "true"))
	amend(t, s.cluster, o, annotate(paused, "false"))
	awaitObject(t, s.cluster, o, wantAnnotation(o, "gridlatch.dev/trigger-paused", "owner"))
	s.intensity(t, 100)
	awaitObject(t, s.cluster, o, wantAnnotation(o, "gridlatch.dev/trigger-paused", ""))
	if err := wantAnnotation(o, paused, "false")(); err != nil {
		t.Error(err)
	}
	amend(t, s.cluster, o, annotate(paused, ""))
	s.intensity(t, 500)
	awaitObject(t, s.cluster, o, wantAnnotation(o, paused, "true"))
	s.intensity(t, 100)
	awaitObject(t, s.cluster, o, func() error {
		if len(o.GetAnnotations()) > 0 {
			return fmt.Errorf("annotations left: %v", o.GetAnnotations())
		}
		return wantRewritten(o, "200")()
	})
}

func pausesBesideACeiling(t *testing.T, s *site) {
	s.policy(t, 200, 10, 1000, 0)
	s.intensity(t, 500)
	o := s.carbonObject("web", map[string]any{"handler": "pause"})
	o.SetAnnotations(map[string]string{"gridlatch.dev/policy": s.name})
	create(t, s.cluster, env.Deployment(s.name, "web"), o)
	awaitObject(t, s.cluster, o, func() error {
		return errors.Join(wantAnnotation(o, "gridlatch.dev/trigger-paused", "autoscaling.keda.sh/paused")(), wantAnnotation(o, "gridlatch.dev/ceiling", "0")())
	})
	s.intensity(t, 100)
	awaitObject(t, s.cluster, o, func() error {
		for key := range o.GetAnnotations() {
			if strings.Contains(key, "paused") {
				return fmt.Errorf("annotations left: %v", o.GetAnnotations())
			}
		}
		return wantAnnotation(o, "gridlatch.dev/ceiling", "10")()
	})
}

func releasesTriggers(t *testing.T, s *site) {
	s.policy(t, 1000, 20)
	s.intensity(t, 500)
	cron := env.ScaledObject(s.name, "web", 3, 20)
	others, _, _ := unstructured.NestedSlice(cron.Object, "spec", "triggers")
	beside := s.carbonObject("beside", nil, others...)
	if err := unstructured.SetNestedField(beside.Object, int64(2), "spec", "minReplicaCount"); err != nil {
		t.Fatal(err)
	}
	pausing := s.carbonObject("pausing", map[string]any{"handler": "pause"})
	create(t, s.cluster, env.Deployment(s.name, "beside"), env.Deployment(s.name, "pausing"), beside, pausing)
	awaitMax(t, s.cluster, beside, 2)
	awaitObject(t, s.cluster, pausing, wantAnnotation(pausing, "autoscaling.keda.sh/paused", "true"))
	releaseAll(t, s.cluster)
	for _, o := range []*unstructured.Unstructured{beside, pausing} {
		awaitObject(t, s.cluster, o, func() error {
			if metadata, kind := carbonMetadata(o); kind != trigger.Type || len(metadata) > 4 || maxReplicas(o) != 20 {
				return fmt.Errorf("the trigger is %s %v, and the maximum %d", kind, metadata, maxReplicas(o))
			}
			return nil
		})
		awaitUntouched(t, s.cluster, o)
	}
}

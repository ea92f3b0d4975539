package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// conditions shows which requests the API server sends to the webhook. A wrong condition would block nothing, because
// of failurePolicy Ignore.
func conditions(t *testing.T, g *env.Controller, r *gitRepo) {
	seen := func() float64 {
		n, err := g.Metric(t.Context(), "gridlatch_reviews_total", `path="/rewrite-triggers"`, `outcome="answered"`)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	last := seen()
	expect := func(what string, want float64) {
		t.Helper()
		if now := seen(); now-last != want {
			t.Errorf("%s: %v reviews, want %v", what, now-last, want)
		}
		last = seen()
	}
	policy := v1alpha1.Default()
	policy.Name = r.namespace
	create(t, r.cluster, policy)
	r.apply(t, kafkaTrigger)
	expect("an object without the trigger", 0)
	withPolicy := strings.Replace(carbonTrigger, "region", "policy: "+r.namespace+", region", 1)
	env.Eventually(t, patience, func(ctx context.Context) error { // until the policy is in the cache of Gridlatch
		_, err := r.cluster.KubectlInput(ctx, r.manifest(withPolicy), "apply", "-f", "-")
		return err
	})
	if seen() == last {
		t.Error("the trigger does not come to the webhook")
	}
	last = seen()
	o := r.live(t)
	wantTypes(t, o, replaced)
	amend(t, r.cluster, o, `{"metadata":{"labels":{"team":"ml"},"finalizers":["finalizer.keda.sh"]},"spec":{"maxReplicaCount":10}}`)
	expect("an update of all but the triggers", 0)
	amend(t, r.cluster, o, `{"spec":{"triggers":[{"type":"external-push","metadata":{"writtenAs":"carbon-intensity","policy":"`+r.namespace+`","emissionThreshold":"300"}}]}}`)
	expect("a replaced trigger that is changed", 1)
	job := env.ScaledJob(r.namespace, "job", 1, 5, true)
	if err := unstructured.SetNestedSlice(job.Object, []any{map[string]any{"type": "carbon-intensity", "metadata": map[string]any{"emissionThreshold": "200"}}}, "spec", "triggers"); err != nil {
		t.Fatal(err)
	}
	create(t, r.cluster, job)
	wantTypes(t, job, strings.Replace(replaced, "external-push", "external", 1)) // see trigger.Form.For
	expect("a ScaledJob", 1)
	refusals(t, r)
	mistakeBlocksNothingElse(t, r, policy)
}

func refusals(t *testing.T, r *gitRepo) {
	for trigger, want := range map[string]string{
		strings.Replace(carbonTrigger, `"200"`, "200", 1):                  `spec.triggers[0].metadata.emissionThreshold: Invalid value: 200: want it in quotes: "200"`,
		strings.Replace(carbonTrigger, `"200"`, `"low"`, 1):                `spec.triggers[0].metadata.emissionThreshold: Invalid value: "low"`,
		strings.Replace(carbonTrigger, "scaleDown", "stop", 1):             `spec.triggers[0].metadata.handler: Invalid value: "stop": want scaleDown or pause`,
		strings.Replace(carbonTrigger, "region", "zone", 1):                `spec.triggers[0].metadata`,
		strings.Replace(carbonTrigger, "{region", "{policy: x, region", 1): `spec.triggers[0].metadata.policy: Invalid value: "x": want the name of a CarbonPolicy`,
	} {
		_, err := r.cluster.KubectlInput(t.Context(), r.manifest(trigger), "apply", "-f", "-")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", trigger, err, want)
		}
	}
}

// mistakeBlocksNothingElse shows that KEDA can always write its own fields, and take its finalizer off: also when the
// policy of a trigger is gone.
func mistakeBlocksNothingElse(t *testing.T, r *gitRepo, policy client.Object) {
	if err := r.cluster.Client.Delete(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	o := r.live(t)
	env.Eventually(t, patience, func(ctx context.Context) error {
		changed := fmt.Sprintf(`[{"op":"replace","path":"/spec/triggers/0/metadata/emissionThreshold","value":"%d"}]`, time.Now().Unix()%1000+1)
		err := r.cluster.Client.Patch(ctx, o, client.RawPatch(types.JSONPatchType, []byte(changed)))
		if !apierrors.IsInvalid(err) {
			return fmt.Errorf("a trigger with a policy that is gone: %v", err) //nolint:errorlint // often nil
		}
		return nil
	})
	amend(t, r.cluster, o, `{"metadata":{"labels":{"team":"other"}}}`)
	if err := r.cluster.Client.Delete(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	amend(t, r.cluster, o, `{"metadata":{"finalizers":null}}`)
	if err := r.cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
		t.Errorf("the object stays: %v", err)
	}
}

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

const definition = "crd/carbonpolicies.gridlatch.dev"

// undefine deletes the CustomResourceDefinition of CarbonPolicies.
func undefine(t *testing.T, c *env.Cluster) {
	t.Helper()
	if _, err := c.Kubectl(t.Context(), "delete", definition); err != nil {
		t.Fatal(err)
	}
}

// define brings the CustomResourceDefinition back, with a policy called night.
func define(t *testing.T, c *env.Cluster) {
	t.Helper()
	path := filepath.Join("..", "..", "manifests", "base", "gridlatch.dev_carbonpolicies.yaml")
	for _, args := range [][]string{{"apply", "--server-side", "-f", path}, {"wait", "--for=condition=Established", "--timeout=30s", definition}} {
		if _, err := c.Kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		_, err := c.KubectlInput(ctx, "{apiVersion: gridlatch.dev/v1alpha1, kind: CarbonPolicy, metadata: {name: night}}", "apply", "-f", "-")
		return err
	})
}

// awaitHeldBy creates a pod of a policy once that is known, and expects it to be held.
func awaitHeldBy(t *testing.T, c *env.Cluster, namespace, name, policy string) *corev1.Pod {
	t.Helper()
	p := pod(namespace, name, tolerant(v1alpha1.PolicyAnnotation, policy))
	env.Eventually(t, time.Minute, func(ctx context.Context) error { return c.Client.Create(ctx, p.DeepCopy()) })
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
		t.Fatal(err)
	}
	if !hold.HasGate(p.Spec.SchedulingGates) {
		t.Errorf("%s is not held: %v", name, p.Annotations)
	}
	return p
}

// Its definition is not there yet where an upgrade replaces it, and gone where it
// is deleted first on leaving. None of the replicas ends, and each goes on once it is back.
func TestWithoutTheDefinitionOfPoliciesTheBuiltInOneHolds(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Install(t.Context(), port); err != nil {
		t.Fatal(err)
	}
	undefine(t, c)
	g := c.Controller(t, port)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.AwaitWebhook(ctx); err != nil {
		t.Fatal(err)
	}
	dirtyThenClean(t, c, 5*time.Minute)
	ns := namespace(t, c)
	create(t, c, job(ns, "before", tolerant(), 1))
	awaitGated(t, c, ns, 1)
	if err := c.Client.Create(t.Context(), pod(ns, "unknown", tolerant(v1alpha1.PolicyAnnotation, "night"))); err == nil {
		t.Error("a policy that does not exist is not refused")
	}

	define(t, c)
	held := awaitHeldBy(t, c, ns, "of-night", "night")
	undefine(t, c)
	env.Eventually(t, time.Minute, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(held), held); err != nil {
			return err
		}
		if hold.HasGate(held.Spec.SchedulingGates) || !strings.Contains(held.Annotations[v1alpha1.ReasonAnnotation], "its policy does not exist") {
			return fmt.Errorf("still held: %v", held.Annotations)
		}
		return nil
	})
	awaitGatedWithin(t, c, ns, 1, patience) // by the built-in policy, as before

	define(t, c)
	awaitHeldBy(t, c, ns, "of-night-again", "night")
	env.Eventually(t, patience, func(ctx context.Context) error { // its status is written again
		var p v1alpha1.CarbonPolicy
		if err := c.Client.Get(ctx, client.ObjectKey{Name: "night"}, &p); err != nil {
			return err
		}
		if p.Status.Held.Pods != 1 {
			return fmt.Errorf("held: %+v", p.Status.Held)
		}
		return nil
	})
	cleanNow(t, c)
	awaitComplete(t, c, ns, "before")
	if n, err := g.Metric(t.Context(), "gridlatch_released_pods_total"); err != nil || n < 2 {
		t.Errorf("%v pods are released by the one controller, %v, want both", n, err)
	}
}

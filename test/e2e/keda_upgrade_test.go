package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestGridlatchTakesOverFromTheOriginal installs it where the original has been
// at work: KEDA scales, pods and Jobs run, the ceilings are those of the moment.
func TestGridlatchTakesOverFromTheOriginal(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	c.KEDA(t)
	web, reports := originalAtWork(t, c)
	before := standing(t, c)

	g := c.Gridlatch(t)
	s := &site{cluster: c, controller: g, name: "upgrade"}
	scaler := func(name string) *carbonaware.CarbonAwareKedaScaler {
		return &carbonaware.CarbonAwareKedaScaler{ObjectMeta: metav1.ObjectMeta{Namespace: "upgrade", Name: name}}
	}
	for _, name := range []string{"word-processor", "reports"} {
		awaitScaler(t, s, scaler(name), metav1.ConditionFalse, carbonaware.ReasonSucceeded, "operator successfully reconciling")
	}
	for _, o := range []*unstructured.Unstructured{web, reports} {
		awaitObject(t, c, o, func() error {
			if o.GetAnnotations()[v1alpha1.CeilingByAnnotation] == "" {
				return fmt.Errorf("%s is not taken over: %v", o.GetName(), o.GetAnnotations())
			}
			return nil
		})
	}
	time.Sleep(killed)
	if diff := cmp.Diff(before, standing(t, c)); diff != "" {
		t.Errorf("the takeover has changed something: %s", diff)
	}

	steady(t, c, 400)
	awaitCeiling(t, c, web, 110)
	awaitMax(t, c, reports, 9)
	after := standing(t, c)
	if diff := cmp.Diff(before.Pods, after.Pods); diff != "" {
		t.Errorf("pods have been replaced: %s", diff)
	}
	if diff := cmp.Diff(before.Deployments, after.Deployments); diff != "" {
		t.Errorf("the Deployment has been rolled out: %s", diff)
	}
	for _, name := range []string{"odd", "empty"} { // they harm nobody, and say what is wrong
		bad := scaler(name)
		awaitObject(t, c, bad, func() error {
			if len(bad.Status.Conditions) == 0 {
				return fmt.Errorf("%s says nothing", name)
			}
			return nil
		})
	}
	for _, name := range []string{"word-processor", "reports"} {
		if err := c.Client.Delete(t.Context(), scaler(name)); err != nil {
			t.Fatal(err)
		}
	}
	awaitMax(t, c, web, 60) // what was there before us
	awaitMax(t, c, reports, 4)
}

// originalAtWork brings the cluster to where the original would have it, at 490
// gCO2eq/kWh.
func originalAtWork(t *testing.T, c *env.Cluster) (web, reports *unstructured.Unstructured) {
	t.Helper()
	for _, add := range []func(*env.Cluster) error{
		func(c *env.Cluster) error { return v1alpha1.AddToScheme(c.Client.Scheme()) },
		func(c *env.Cluster) error { return carbonaware.AddToScheme(c.Client.Scheme()) },
	} {
		if err := add(c); err != nil {
			t.Fatal(err)
		}
	}
	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "upgrade"}})
	if _, err := c.Kubectl(t.Context(), "create", "-f", "testdata/carbonawarekedascalers.yaml"); err != nil {
		t.Fatal(err)
	}
	objects, err := os.ReadFile("testdata/original.yaml")
	if err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, func(ctx context.Context) error { // until the kind is served
		_, err := c.KubectlInput(ctx, string(objects), "apply", "-f", "-")
		return err
	})
	steady(t, c, 490)
	web = scaledObject(t, c, "upgrade", "word-processor", 3, 200, nil)
	reports = env.ScaledJob("upgrade", "reports", 3, 4, true)
	create(t, c, reports)
	sixty := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"maxReplicaCount":60}}`))
	if err := c.Client.Patch(t.Context(), web, sixty, client.FieldOwner("manager")); err != nil {
		t.Fatal(err)
	}
	awaitCeiling(t, c, web, 60)
	awaitReplicas(t, &site{cluster: c}, web, 1)
	expectJobs(t, c, reports, awaitScaled(t, c, reports, 3))
	return web, reports
}

// steady writes the well-known forecast, with the same intensity for hours.
func steady(t *testing.T, c *env.Cluster, intensity float64) {
	t.Helper()
	if err := c.Forecast(t.Context(), env.Elements(location, time.Now().Add(-2*time.Hour), 8*time.Hour, intensity)...); err != nil {
		t.Fatal(err)
	}
}

// state is what must not change when somebody else takes over.
type state struct {
	Pods, Jobs, Deployments, Autoscalers, Scalers []string
}

func standing(t *testing.T, c *env.Cluster) state {
	t.Helper()
	// what an object is, and how often its spec has been changed
	list := func(o client.ObjectList) (identities []string) {
		if err := c.Client.List(t.Context(), o, client.InNamespace("upgrade")); err != nil {
			t.Fatal(err)
		}
		err := apimeta.EachListItem(o, func(item runtime.Object) error {
			m, err := apimeta.Accessor(item)
			if err == nil {
				identities = append(identities, fmt.Sprint(m.GetName(), " ", m.GetUID(), " ", m.GetGeneration()))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(identities)
		return identities
	}
	scalers := &unstructured.UnstructuredList{}
	scalers.SetAPIVersion("carbonaware.kubernetes.azure.com/v1alpha1")
	scalers.SetKind("CarbonAwareKedaScalerList")
	return state{
		Pods: list(&corev1.PodList{}), Jobs: list(&batchv1.JobList{}), Deployments: list(&appsv1.DeploymentList{}),
		Autoscalers: list(&autoscalingv2.HorizontalPodAutoscalerList{}), Scalers: list(scalers),
	}
}

// TestKEDAMayComeLater installs it where Gridlatch runs, takes it away, and
// installs it again.
func TestKEDAMayComeLater(t *testing.T) {
	c, g := ownCluster(t)
	s := newSite(t, c, g, &grid{cluster: c})
	s.policy(t, 200, 20, 1000, 5)
	s.intensity(t, 100)
	for _, comes := range []string{"first", "again"} {
		if err := c.InstallKEDA(t.Context()); err != nil {
			t.Fatal(err)
		}
		o := env.ScaledObject(s.name, comes, 3, 50)
		o.SetAnnotations(map[string]string{v1alpha1.PolicyAnnotation: s.name})
		create(t, c, o)
		awaitMax(t, c, o, 20)
		if comes == "again" {
			break
		}
		if _, err := c.Kubectl(t.Context(), "delete", "crd", "scaledobjects.keda.sh", "scaledjobs.keda.sh"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.Metric(t.Context(), "process_start_time_seconds"); err != nil {
		t.Errorf("the controller has not survived: %v", err)
	}
}

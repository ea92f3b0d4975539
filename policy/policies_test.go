package policy

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// policiesOf reads these objects from a cluster, and knows its nodes.
func policiesOf(t testing.TB, objects ...client.Object) Policies {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	return Policies{Reader: reader, Clock: clocktesting.NewFakePassiveClock(t0), Nodes: &Nodes{Reader: reader}}
}

// named is a policy with two locations and a bucket.
func named(name string) *v1alpha1.CarbonPolicy {
	object := v1alpha1.Default()
	object.Name = name
	object.Spec.Buckets = []v1alpha1.Bucket{{UpTo: ptr.To[int32](200), Ceiling: 3}}
	for _, grid := range []string{"north", "south"} {
		object.Spec.Locations = append(object.Spec.Locations, v1alpha1.Location{Name: grid, NodeSelector: map[string]string{"grid": grid}})
	}
	return object
}

func clusterOf(t testing.TB, objects ...client.Object) Policies {
	t.Helper()
	for _, n := range twoGrids() {
		objects = append(objects, n)
	}
	return policiesOf(t, objects...)
}

func TestListReturnsWhatGetReturns(t *testing.T) {
	for name, objects := range map[string][]client.Object{
		"without the default policy": {named("batch")},
		"with a default policy":      {named("batch"), named(v1alpha1.DefaultPolicy), named("another")},
		"without any policy":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			policies := clusterOf(t, objects...)
			listed, err := policies.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wanted := map[string]bool{v1alpha1.DefaultPolicy: true}
			for _, o := range objects {
				wanted[o.GetName()] = true
			}
			if len(listed) != len(wanted) || listed[0].Name != v1alpha1.DefaultPolicy {
				t.Errorf("%d policies, the first is %q; want %d", len(listed), listed[0].Name, len(wanted))
			}
			for _, p := range listed {
				got, err := policies.Get(t.Context(), p.Name)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(seen(t, got), seen(t, p)); diff != "" {
					t.Errorf("policy %s: Get and List differ (-get +list):\n%s", p.Name, diff)
				}
			}
		})
	}
}

// decided is what others see of a policy.
type decided struct {
	Name       string
	Exists     bool
	Source     forecast.Source
	Candidates []plan.Site
	Suitable   string
	HasNodes   []bool
	Buckets    bool
}

func seen(t *testing.T, p *Policy) decided {
	t.Helper()
	gpu := &corev1.PodSpec{NodeSelector: map[string]string{"pool": "gpu"}}
	return decided{
		p.Name, p.Exists, p.Source, p.Task(Ask{}, t0).Locations, p.SuitableLocations(t.Context(), gpu),
		[]bool{p.HasNodes("north"), p.HasNodes("south"), p.HasNodes("east")}, p.HasBuckets(),
	}
}

func TestAListedPolicyKnowsItsNodes(t *testing.T) {
	listed, err := clusterOf(t, named("batch")).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := decided{
		"batch", true, forecast.Source{Namespace: "kube-system", Name: "carbon-intensity", Key: "data"},
		[]plan.Site{{Name: "north", PowerFactor: 1}, {Name: "south", PowerFactor: 1}}, "south", []bool{true, true, false}, true,
	}
	if diff := cmp.Diff(want, seen(t, listed[1])); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWhichPoliciesExist(t *testing.T) {
	policies := policiesOf(t, named("batch"))
	for name, want := range map[string]struct{ exists, found bool }{
		"batch":   {true, true},
		"nightly": {false, false},
		"default": {true, true}, // although nobody has created it
		"":        {false, true},
	} {
		p, err := policies.Get(t.Context(), name)
		if (err == nil) != want.found || err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("policy %q: %v; want one: %t", name, err, want.found)
		}
		if err == nil && p.Exists != (name == "batch") {
			t.Errorf("policy %q was created: %t", name, p.Exists)
		}
		if name != "" && policies.Exists(t.Context(), name) != want.exists {
			t.Errorf("policy %q exists: %t, want %t", name, !want.exists, want.exists)
		}
	}
}

func TestPoliciesThatCannotBeReadAreAnError(t *testing.T) {
	broken := errors.New("the cache has not started")
	policies := policiesOf(t)
	policies.Reader = interceptor.NewClient(policies.Reader.(client.WithWatch), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return broken },
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return broken
		},
	})
	if _, err := policies.List(t.Context()); !errors.Is(err, broken) {
		t.Errorf("List: %v", err)
	}
	if _, err := policies.Get(t.Context(), "default"); !errors.Is(err, broken) {
		t.Errorf("Get: %v", err)
	}
	levels := Levels{Policies: policies, Store: &forecast.Store{}}
	if _, _, err := levels.Level(t.Context(), "default", "", t0); !errors.Is(err, broken) {
		t.Errorf("Level: %v", err)
	}
}

func TestThePolicyOfANamespace(t *testing.T) {
	namespaced := func(name string, annotations map[string]string) client.Object {
		object := NewMetadata(NamespaceKind())
		object.Name, object.Annotations = name, annotations
		return object
	}
	reader := fake.NewClientBuilder().WithObjects(
		namespaced("shop", map[string]string{v1alpha1.PolicyAnnotation: "batch"}), namespaced("plain", nil),
	).Build()
	for namespace, want := range map[string]string{"shop": "batch", "plain": "", "not in the cache": ""} {
		if got := NamespacePolicy(t.Context(), reader, namespace); got != want {
			t.Errorf("namespace %q: policy %q, want %q", namespace, got, want)
		}
	}
}

func TestWorkOfAnAbandonedPolicyStartsAtOnce(t *testing.T) {
	store := storeOf(t, 300, 100, 100, 100)
	abandoned := Abandoned()
	if !abandoned.IsAbandoned() || builtin().IsAbandoned() {
		t.Error("it is not known which policy is abandoned")
	}
	decision := abandoned.Decide(store.Snapshot(forecast.Source{}), "", t0, abandoned.Task(Ask{Duration: time.Hour, Deadline: t0.Add(8 * time.Hour)}, t0))
	if decision.Holds() || decision.Cause != plan.CauseNoForecast {
		t.Errorf("it holds: %t, for %v", decision.Holds(), decision.Cause)
	}
}

func TestNodesAreLookedForAgainOnceTheyHaveChanged(t *testing.T) {
	nodes := twoGrids()
	policies := policiesOf(t, named("batch"), nodes[0])
	hasSouth := func() bool {
		p, err := policies.Get(t.Context(), "batch")
		if err != nil {
			t.Fatal(err)
		}
		return p.HasNodes("south")
	}
	if hasSouth() {
		t.Fatal("there is a node in the south before one was added")
	}
	if err := policies.Reader.(client.Client).Create(t.Context(), nodes[1]); err != nil {
		t.Fatal(err)
	}
	handler, before := policies.Nodes.EventHandler(), nodes[1].DeepCopy()
	relabelled := func(change func(*corev1.Node)) *corev1.Node {
		after := before.DeepCopy()
		change(after)
		return after
	}
	steps := []struct {
		name  string
		tell  func()
		knows bool
	}{
		{"an update of a status is no change", func() {
			handler.OnUpdate(before, relabelled(func(n *corev1.Node) { n.Status.NodeInfo.KubeletVersion = "v1" }))
		}, false},
		{"another label is", func() {
			handler.OnUpdate(before, relabelled(func(n *corev1.Node) { n.Labels["grid"] = "east" }))
		}, true},
	}
	for _, step := range steps {
		step.tell()
		if got := hasSouth(); got != step.knows {
			t.Errorf("%s: it knows the new node: %t", step.name, got)
		}
	}
	for name, tell := range map[string]func(){
		"a new node":          func() { handler.OnAdd(before, false) },
		"a node that is gone": func() { handler.OnDelete(before) },
		"another power factor": func() {
			handler.OnUpdate(before, relabelled(func(n *corev1.Node) { n.Annotations = map[string]string{v1alpha1.PowerFactorKey: "0.5"} }))
		},
		"what is no object at all":  func() { handler.OnUpdate("", before) },
		"an object of another kind": func() { handler.OnUpdate(before, &metav1.Status{}) },
	} {
		hasSouth()
		tell()
		policies.Nodes.mu.Lock()
		if len(policies.Nodes.bySelector) != 0 {
			t.Errorf("%s: the answers from before are kept", name)
		}
		policies.Nodes.mu.Unlock()
	}
}

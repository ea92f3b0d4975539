package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// evilSpecs change something other than the door of each kind, in a way that the kind's schema allows.
var evilSpecs = map[string]string{
	"JobSet":           `{"spec":{"ttlSecondsAfterFinished":9}}`,
	"TrainJob":         `{"spec":{"runtimePatches":[{"manager":"example.com/evil"}]}}`,
	"MPIJob":           `{"spec":{"runPolicy":{"ttlSecondsAfterFinished":9}}}`,
	"RayJob":           `{"spec":{"entrypoint":"evil"}}`,
	"SparkApplication": `{"spec":{"image":"evil"}}`,
	"Workflow":         `{"spec":{"serviceAccountName":"evil"}}`,
	"PipelineRun":      `{"spec":{"taskRunTemplate":{"serviceAccountName":"evil"}}}`,
	"TaskRun":          `{"spec":{"serviceAccountName":"evil"}}`,
}

// TestTheComponentsOfEnginesConfineAndProtect installs all of them, with the kinds as their engines ship
// them. The controller comes last: before it, the webhook is away.
func TestTheComponentsOfEnginesConfineAndProtect(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(1))
	if err := c.DefineDoors(t.Context()); err != nil {
		t.Fatal(err)
	}
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	expectComponentsCompose(t, c)
	if err := c.Install(t.Context(), port, engineComponents()...); err != nil {
		t.Fatal(err)
	}
	expectTypeChecked(t, c)
	ns := namespace(t, c)
	self, _ := clientAt(t, c, env.Namespace, "gridlatch")
	user := engineUser(t, c, ns)
	for _, o := range examples(t) {
		d := door.Of(o.GroupVersionKind().GroupKind())
		o.SetNamespace(ns)
		t.Run(d.Kind.Kind, func(t *testing.T) {
			work := doorWork{door: d, c: c, self: self, user: user}
			work.create(t, o)
			work.awaitPolicies(t)
			work.expectSelfConfined(t)
			work.expectUserKeptOff(t)
			work.expectTold(t)
		})
	}
	t.Run("a large Workflow", func(t *testing.T) { expectLargeReleased(t, c, self, ns) })
	c.Controller(t, port)
	if err := c.AwaitWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectOnlyAnnotatedAsked(t, c, ns)
}

// engineComponents returns the components of all engines, by their names.
func engineComponents() []string {
	var names []string
	for _, d := range door.All() {
		if !slices.Contains(names, d.Component) {
			names = append(names, d.Component)
		}
	}
	return names
}

// expectComponentsCompose has the API server look at each component alone, and at all with the others.
func expectComponentsCompose(t *testing.T, c *env.Cluster) {
	t.Helper()
	sets := [][]string{append([]string{"by-label", "network-policy", "keda"}, engineComponents()...), append(engineComponents(), "by-label")}
	for _, name := range engineComponents() {
		sets = append(sets, []string{name})
	}
	for _, set := range sets {
		rendered, err := c.Kustomize(t.Context(), "resources: [MANIFESTS/base]\n"+env.Components(set...))
		if err != nil {
			t.Fatal(err)
		}
		var configuration admissionv1.MutatingWebhookConfiguration
		find(t, rendered, "MutatingWebhookConfiguration", "gridlatch", &configuration)
		for _, name := range set {
			shows := slices.ContainsFunc(configuration.Webhooks, func(w admissionv1.MutatingWebhook) bool { return w.Name == name+".gridlatch.dev" })
			if slices.Contains(engineComponents(), name) && !shows {
				t.Errorf("%v: there is no webhook for %s", set, name)
			}
		}
		if _, err := c.Kubectl(t.Context(), "get", "namespace", env.Namespace); err != nil { // for a dry run of what is in it
			create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: env.Namespace}})
		}
		if _, err := c.KubectlInput(t.Context(), rendered, "apply", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
			t.Errorf("%v: %v", set, err)
		}
	}
}

// expectTypeChecked waits until the API server has checked all policies, and wants no warnings.
func expectTypeChecked(t *testing.T, c *env.Cluster) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		var all admissionv1.ValidatingAdmissionPolicyList
		if err := c.Client.List(ctx, &all); err != nil {
			return err
		}
		for _, policy := range all.Items {
			if policy.Status.TypeChecking == nil || policy.Status.ObservedGeneration != policy.Generation {
				return fmt.Errorf("%s is not checked yet", policy.Name)
			}
			for _, warning := range policy.Status.TypeChecking.ExpressionWarnings {
				t.Errorf("%s: %s: %s", policy.Name, warning.FieldRef, warning.Warning)
			}
		}
		return nil
	})
}

// engineUser makes a service account that may do anything with the kinds of engines in a namespace.
func engineUser(t *testing.T, c *env.Cluster, ns string) client.Client {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: ns, Name: "user"}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"*"}}}}
	for _, d := range door.All() {
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{d.Kind.Group}, Resources: []string{d.Resource}, Verbs: []string{"*"}})
	}
	create(t, c, &corev1.ServiceAccount{ObjectMeta: *meta.DeepCopy()}, role, &rbacv1.RoleBinding{
		ObjectMeta: *meta.DeepCopy(), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "user"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: "user"}},
	})
	user, _ := clientAt(t, c, ns, "user")
	return user
}

// examples returns an object of each kind that is held whole, as docs/engines.md shows it.
func examples(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	all, err := env.DoorExamples()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// doorWork is work of one kind: held by Gridlatch, held by somebody else, and not held but marked.
type doorWork struct {
	door               *door.Door
	c                  *env.Cluster
	self, user         client.Client
	held, theirs, open *unstructured.Unstructured
}

// create makes the work of an example, as the administrator, who may write the marks.
func (w *doorWork) create(t *testing.T, example *unstructured.Unstructured) {
	t.Helper()
	marks := map[string]string{
		v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend,
		hold.KueueGatesAnnotation: "example.com/other," + v1alpha1.Gate, "theirs": "x",
	}
	add := func(name string, closed bool, notes map[string]string) *unstructured.Unstructured {
		o := example.DeepCopy()
		o.SetName("guard-" + name)
		o.SetAnnotations(notes)
		o.SetLabels(map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld, "theirs": "x"})
		if closed {
			if err := unstructured.SetNestedField(o.Object, w.door.Closed, w.door.Field...); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.c.Client.Create(t.Context(), o, &client.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
			t.Fatal(err)
		}
		if w.door.IsClosed(o.Object) != closed {
			t.Fatalf("closed %v, want %v: the definition drops %v", !closed, closed, w.door.Field)
		}
		return o
	}
	w.held, w.theirs, w.open = add("held", true, marks), add("theirs", true, map[string]string{"theirs": "x"}), add("open", false, marks)
}

// doorPatch is a merge patch of the door, with more fields beside.
func (w *doorWork) doorPatch(t *testing.T, value any, more string) string {
	t.Helper()
	o := map[string]any{}
	if more != "" {
		if err := json.Unmarshal([]byte(more), &o); err != nil {
			t.Fatal(err)
		}
	}
	if err := unstructured.SetNestedField(o, value, w.door.Field...); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

const unmark = `{"metadata":{"labels":{"gridlatch.dev/state":"released"},"annotations":{"gridlatch.dev/held-by":null,"gridlatch.dev/reason":"x","gridlatch.dev/started":"x","kueue.x-k8s.io/admission-gated-by":"example.com/other"}}}`

// expectSelfConfined tries, as Gridlatch, what somebody would who has taken Gridlatch over.
func (w *doorWork) expectSelfConfined(t *testing.T) {
	t.Helper()
	const whole, own = "gridlatch-confined", ""
	opens := w.doorPatch(t, w.door.Open, "")
	for name, tt := range map[string]struct {
		o     *unstructured.Unstructured
		patch string
		want  string // that is refused; empty if it is allowed
	}{
		"the release":                     {w.held, w.doorPatch(t, w.door.Open, unmark), own},
		"the release without notes":       {w.held, opens, own},
		"its notes":                       {w.held, `{"metadata":{"annotations":{"gridlatch.dev/reason":"x"}}}`, own},
		"its place in a queue":            {w.held, `{"metadata":{"annotations":{"kueue.x-k8s.io/admission-gated-by":"example.com/other"}}}`, own},
		"another's place in a queue":      {w.held, `{"metadata":{"annotations":{"kueue.x-k8s.io/admission-gated-by":null}}}`, whole},
		"a foreign annotation":            {w.held, `{"metadata":{"annotations":{"theirs":null}}}`, whole},
		"a foreign label":                 {w.held, `{"metadata":{"labels":{"theirs":"y"}}}`, whole},
		"a finalizer":                     {w.held, `{"metadata":{"finalizers":["example.com/x"]}}`, whole},
		"an owner":                        {w.held, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"1"}]}}`, whole},
		"the rest of spec":                {w.held, evilSpecs[w.door.Kind.Kind], whole},
		"the rest of spec with a release": {w.held, w.doorPatch(t, w.door.Open, evilSpecs[w.door.Kind.Kind]), whole},
		"a door that others have closed":  {w.theirs, opens, whole},
		"such a door, marked as its own":  {w.theirs, w.doorPatch(t, w.door.Open, `{"metadata":{"annotations":{"gridlatch.dev/held-by":"suspend"}}}`), whole},
		"an open door":                    {w.open, w.doorPatch(t, w.door.Closed, ""), whole},
	} {
		err := try(t, w.self, tt.o, merge, tt.patch)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s has to be allowed: %v", name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want that %s refuses it", name, err, tt.want)
		}
	}
	evil := client.RawPatch(merge, []byte(`{"metadata":{"annotations":{"a":"b"}}}`))
	expectForbidden(t, "its status", w.self.SubResource("status").Patch(t.Context(), w.held.DeepCopy(), evil))
	expectForbidden(t, "a deletion", w.self.Delete(t.Context(), w.held.DeepCopy(), client.DryRunAll))
	fresh := w.held.DeepCopy()
	fresh.SetName("guard-new")
	fresh.SetResourceVersion("")
	expectForbidden(t, "a creation", w.self.Create(t.Context(), fresh, client.DryRunAll))
	if err := try(t, w.self, w.held, merge, `{"status":{"evil":"x"}}`); err == nil && hasStatusOf(t, w) {
		t.Error("a status in the object itself is allowed")
	}
}

// hasStatusOf reports whether the kind has its status in the object itself, so that every update may change it.
func hasStatusOf(t *testing.T, w *doorWork) bool {
	t.Helper()
	definition := &unstructured.Unstructured{}
	definition.SetAPIVersion("apiextensions.k8s.io/v1")
	definition.SetKind("CustomResourceDefinition")
	if err := w.c.Client.Get(t.Context(), client.ObjectKey{Name: w.door.Resource + "." + w.door.Kind.Group}, definition); err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	return slices.ContainsFunc(versions, func(version any) bool {
		of, _ := version.(map[string]any)
		_, separate, _ := unstructured.NestedFieldNoCopy(of, "subresources", "status")
		return of["name"] == w.door.Kind.Version && !separate
	})
}

// awaitPolicies waits until the API server goes by each of the policies. It takes up each one at a time of its own,
// some seconds after the policy is there.
func (w *doorWork) awaitPolicies(t *testing.T) {
	t.Helper()
	forged := metaPatch(t, "annotations", v1alpha1.ReasonAnnotation, "x")
	for _, tt := range []struct {
		policy string
		as     client.Client
		patch  string
	}{
		{"gridlatch-confined", w.self, `{"metadata":{"labels":{"theirs":"y"}}}`}, {"gridlatch-confined", w.self, w.doorPatch(t, w.door.Open, "")},
		{"gridlatch-keys", w.user, forged},
	} {
		env.Eventually(t, patience, func(ctx context.Context) error {
			err := tt.as.Patch(ctx, w.theirs.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(tt.patch)), client.DryRunAll)
			if err == nil || !strings.Contains(err.Error(), tt.policy) {
				return fmt.Errorf("%s does not refuse %s yet: %v", tt.policy, tt.patch, err) //nolint:errorlint // often nil
			}
			return nil
		})
	}
	misspelt := w.copyOf(w.open, map[string]string{"Gridlatch.dev/delay-tolerant": "true"})
	env.Eventually(t, patience, func(context.Context) error {
		if createWarned(t, w.c, misspelt.DeepCopy(), client.DryRunAll) == "" {
			return errors.New("gridlatch-unheard does not warn yet")
		}
		return nil
	})
}

// expectUserKeptOff tries, as a user, to write what only Gridlatch writes, and to release by hand.
func (w *doorWork) expectUserKeptOff(t *testing.T) {
	t.Helper()
	for key, value := range written() {
		expectRefused(t, try(t, w.user, w.theirs, merge, metaPatch(t, "annotations", key, value)), "gridlatch-keys", "metadata.annotations["+key+"]")
		forged := w.copyOf(w.theirs, map[string]string{key: value})
		expectRefused(t, w.user.Create(t.Context(), forged, client.DryRunAll), "gridlatch-keys", "metadata.annotations["+key+"]")
	}
	expectRefused(t, try(t, w.user, w.open, merge, metaPatch(t, "labels", v1alpha1.StateLabel, "any")), "gridlatch-keys", "metadata.labels["+v1alpha1.StateLabel+"]")
	copied := w.copyOf(w.theirs, map[string]string{v1alpha1.ReasonAnnotation: "x"})
	copied.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Engine", Name: "x", UID: "1", Controller: ptr(true)}})
	p := pod(w.theirs.GetNamespace(), "copied", nil)
	p.Labels, p.OwnerReferences = map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}, copied.GetOwnerReferences()
	for what, err := range map[string]error{
		"a release by hand":                try(t, w.user, w.held, merge, w.doorPatch(t, w.door.Open, strings.Replace(unmark, `,"kueue.x-k8s.io/admission-gated-by":"example.com/other"`, "", 1))),
		"an open door":                     try(t, w.user, w.held, merge, w.doorPatch(t, w.door.Open, "")),
		"an annotation of the user's":      try(t, w.user, w.held, merge, metaPatch(t, "annotations", v1alpha1.DeadlineAnnotation, "9m")),
		"a label of the user's":            try(t, w.user, w.held, merge, metaPatch(t, "labels", "app", "x")),
		"a copy that a controller creates": w.user.Create(t.Context(), copied, client.DryRunAll),
		"a pod that a controller creates":  w.user.Create(t.Context(), p, client.DryRunAll),
		"a deletion":                       w.user.Delete(t.Context(), w.theirs.DeepCopy(), client.DryRunAll),
	} {
		if err != nil {
			t.Errorf("%s has to be allowed: %v", what, err)
		}
	}
}

// expectTold creates what would not wait, and wants to be told so.
func (w *doorWork) expectTold(t *testing.T) {
	t.Helper()
	alone := w.copyOf(w.open, map[string]string{v1alpha1.DeadlineAnnotation: "8h"})
	misspelt := w.copyOf(w.open, map[string]string{"Gridlatch.dev/delay-tolerant": "true"})
	for want, o := range map[string]client.Object{"gridlatch.dev/deadline has no effect alone": alone, "write it in small letters": misspelt} {
		if warnings := createWarned(t, w.c, o, client.DryRunAll); !strings.Contains(warnings, want) {
			t.Errorf("got the warnings %q, want %q", warnings, want)
		}
	}
	if warnings := createWarned(t, w.c, w.copyOf(w.open, map[string]string{"theirs": "x"}), client.DryRunAll); warnings != "" {
		t.Errorf("warned without a reason: %q", warnings)
	}
}

// copyOf is an object as a user would create a copy, with no other metadata.
func (w *doorWork) copyOf(o *unstructured.Unstructured, notes map[string]string) *unstructured.Unstructured {
	fresh := o.DeepCopy()
	fresh.Object["metadata"] = map[string]any{"namespace": o.GetNamespace(), "name": "copy"}
	fresh.SetAnnotations(notes)
	return fresh
}

// expectLargeReleased releases a Workflow that is almost as large as etcd takes: an admission policy that costs too
// much refuses, too.
func expectLargeReleased(t *testing.T, c *env.Cluster, self client.Client, ns string) {
	t.Helper()
	var large *unstructured.Unstructured
	for _, o := range examples(t) {
		if o.GetKind() == "Workflow" {
			large = o
		}
	}
	var templates []any
	for i := range 4000 {
		templates = append(templates, map[string]any{
			"name": fmt.Sprintf("step-%d", i), "container": map[string]any{"image": "registry.example.com/work", "args": []any{"a", "b", strings.Repeat("c", 150)}},
		})
	}
	large.SetNamespace(ns)
	large.SetName("large")
	large.SetAnnotations(map[string]string{v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend})
	large.Object["spec"] = map[string]any{"entrypoint": "step-0", "templates": templates, "suspend": true}
	create(t, c, large)
	if err := try(t, self, large, merge, `{"metadata":{"annotations":{"gridlatch.dev/held-by":null}},"spec":{"suspend":null}}`); err != nil {
		t.Error(err)
	}
	expectRefused(t, try(t, self, large, merge, `{"spec":{"suspend":null,"serviceAccountName":"evil"}}`), "gridlatch-confined-workflows", "of spec")
}

// expectOnlyAnnotatedAsked creates each example with and without its annotations, and reads in the API server's
// metrics how often it has called the webhook.
func expectOnlyAnnotatedAsked(t *testing.T, c *env.Cluster, ns string) {
	t.Helper()
	for _, o := range examples(t) {
		d := door.Of(o.GroupVersionKind().GroupKind())
		o.SetNamespace(ns)
		plain := o.DeepCopy()
		plain.SetAnnotations(map[string]string{"theirs": "x"})
		for _, tt := range []struct {
			o    *unstructured.Unstructured
			asks bool
		}{{plain, false}, {o, true}} {
			before := calls(t, c, d.Component+".gridlatch.dev")
			if err := c.Client.Create(t.Context(), tt.o, &client.CreateOptions{FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll}}); err != nil {
				t.Errorf("%s: %v", d.Kind.Kind, err)
			}
			if asked := calls(t, c, d.Component+".gridlatch.dev") > before; asked != tt.asks {
				t.Errorf("%s with %v: asked %v, want %v", d.Kind.Kind, tt.o.GetAnnotations(), asked, tt.asks)
			}
		}
	}
}

// calls returns how many calls of a webhook the API server has counted.
func calls(t *testing.T, c *env.Cluster, webhook string) int {
	t.Helper()
	metrics, err := c.Kubectl(t.Context(), "get", "--raw", "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "apiserver_admission_webhook_request_total{") && strings.Contains(line, `name="`+webhook+`"`) {
			var count float64
			if _, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &count); err != nil {
				t.Fatal(err)
			}
			n += int(count)
		}
	}
	return n
}

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	// soonEnough is the deadline of work that starts at the first clean time, and muchLater is that of work
	// which waits for the second, cleaner one.
	soonEnough, muchLater = "20m", "2h"
	// secondClean is when the second clean time is.
	secondClean = time.Hour
)

// wholeSite is a cluster with all engines, and with Gridlatch and the components of the engines.
type wholeSite struct {
	c *env.Cluster
	g *env.Controller
}

// twoCleanTimes writes a forecast that is clean for two seconds after a while, and cleaner in an hour. It returns
// the first clean time.
func (s *wholeSite) twoCleanTimes(t *testing.T, first time.Duration) time.Time {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	clean, cleaner := now.Add(first), now.Add(secondClean)
	elements := env.Elements(location, now.Add(-time.Minute), first+time.Minute, 430)
	elements = append(elements, env.Elements(location, clean, 2*time.Second, 120)...)
	elements = append(elements, env.Elements(location, clean.Add(2*time.Second), cleaner.Sub(clean)-2*time.Second, 400)...)
	elements = append(elements, env.Elements(location, cleaner, 2*time.Second, 60)...)
	elements = append(elements, env.Elements(location, cleaner.Add(2*time.Second), 2*time.Hour, 400, 400)...)
	if err := s.c.Forecast(t.Context(), elements...); err != nil {
		t.Fatal(err)
	}
	return clean
}

// awaitHeldGroups waits until Gridlatch counts so many groups as held.
func (s *wholeSite) awaitHeldGroups(t *testing.T, want int) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		got, err := s.g.Metric(ctx, "gridlatch_held_groups")
		if err == nil && int(got) != want {
			err = fmt.Errorf("%v groups are held, want %d", got, want)
		}
		return err
	})
}

// awaitNoneHeld waits until no object of any kind is held.
func (s *wholeSite) awaitNoneHeld(t *testing.T) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		all, err := s.membersIn(ctx, "", client.MatchingLabels{v1alpha1.StateLabel: v1alpha1.StateHeld})
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("%d objects are held, first %s %s/%s: %v", len(all), all[0].GetKind(), all[0].GetNamespace(), all[0].GetName(), all[0].GetAnnotations())
		}
		return err
	})
}

// startEngines starts all engines at once, each of which needs a while.
func (s *wholeSite) startEngines(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	type program interface {
		Log() string
		Stop() error
	}
	dir, errs := t.TempDir(), make(chan error)
	start := func(name string, run func(context.Context, string) (program, error)) {
		p, err := run(ctx, filepath.Join(dir, name+".log"))
		if err == nil {
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(name + "\n" + lastLines(p.Log(), 40))
				}
				if err := p.Stop(); err != nil {
					t.Error(err)
				}
			})
		}
		errs <- err
	}
	engines := map[string]func(context.Context, string) (program, error){
		"jobset": func(ctx context.Context, log string) (program, error) { // before Trainer
			if p, err := s.c.RunJobSet(ctx, log); err != nil {
				return p, err
			}
			return s.c.RunTrainer(ctx, log)
		},
		"mpi":    func(ctx context.Context, log string) (program, error) { return s.c.RunMPI(ctx, log) },
		"ray":    func(ctx context.Context, log string) (program, error) { return s.c.RunKubeRay(ctx, log) },
		"spark":  func(ctx context.Context, log string) (program, error) { return s.c.RunSpark(ctx, log) },
		"argo":   func(ctx context.Context, log string) (program, error) { return s.c.RunArgo(ctx, log) },
		"tekton": func(ctx context.Context, log string) (program, error) { return s.c.RunTekton(ctx, log) },
	}
	for name, run := range engines {
		go start(name, run)
	}
	for range engines {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// each runs a test of every kind, all at once, and returns when they have ended. The tests do not wait for each
// other's turn among the parallel tests: the clean times would pass meanwhile.
func (s *wholeSite) each(t *testing.T, name string, test func(t *testing.T, w *wholeWork)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		var all sync.WaitGroup
		defer all.Wait()
		for _, o := range examples(t) {
			d := door.Of(o.GroupVersionKind().GroupKind())
			run := func(t *testing.T) {
				kind, ok := wholeKinds()[d.Kind.Kind]
				if !ok {
					t.Fatal("nothing is known of its engine")
				}
				test(t, &wholeWork{wholeSite: s, wholeKind: kind, door: d, example: o})
			}
			all.Go(func() { t.Run(d.Kind.Kind, run) })
		}
	})
}

// wholeWork is work of one kind.
type wholeWork struct {
	*wholeSite
	wholeKind
	door    *door.Door
	example *unstructured.Unstructured
}

// namespaces are the two of a kind: of the work that is watched until its end, and of other work.
func (w *wholeWork) namespaces() (work, others string) {
	kind := strings.ToLower(w.door.Kind.Kind)
	return kind, kind + "-others"
}

// prepare makes both namespaces, with what the example needs.
func (w *wholeWork) prepare(t *testing.T) {
	t.Helper()
	work, others := w.namespaces()
	for _, ns := range []string{work, others} {
		if _, err := w.c.Kubectl(t.Context(), "create", "namespace", ns); err != nil {
			t.Fatal(err)
		}
		if w.needs == "" {
			continue
		}
		env.Eventually(t, 2*patience, func(ctx context.Context) error {
			_, err := w.c.KubectlInput(ctx, w.withNotes(t, w.needs), "apply", "--namespace="+ns, "-f", "-")
			return err
		})
	}
}

// notes are the annotations of work that may wait. Engines copy some of them to pods.
func (w *wholeWork) notes(deadline string) map[string]string {
	runs := "1h"
	if w.ends {
		runs = "1s"
	}
	return tolerant(v1alpha1.DeadlineAnnotation, deadline, "kwok.gridlatch.dev/run-for", runs)
}

// withNotes fills the annotations of work that may wait for long into a text.
func (w *wholeWork) withNotes(t *testing.T, text string) string {
	t.Helper()
	notes, err := json.Marshal(w.notes(muchLater))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(text, "NOTES", string(notes))
}

// named is the example with a name and a deadline, and with changes, a merge patch.
func (w *wholeWork) named(t *testing.T, ns, name, deadline string, changes ...string) *unstructured.Unstructured {
	t.Helper()
	o := w.example.DeepCopy()
	for _, text := range changes {
		var patch map[string]any
		if err := yaml.Unmarshal([]byte(w.withNotes(t, text)), &patch); err != nil {
			t.Fatal(err)
		}
		merged(o.Object, patch)
	}
	o.SetNamespace(ns)
	o.SetName(name)
	o.SetAnnotations(w.notes(deadline))
	return o
}

// merged writes a merge patch to an object.
func merged(object, patch map[string]any) {
	for key, value := range patch {
		inner, isObject := value.(map[string]any)
		at, exists := object[key].(map[string]any)
		if isObject && exists {
			merged(at, inner)
			continue
		}
		object[key] = value
	}
}

// read returns an object of the kind as it is now.
func (w *wholeWork) read(ctx context.Context, ns, name string) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(w.door.Kind)
	return o, w.c.Client.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, o)
}

// checkDoor fails if an object is not as it was to be.
func (w *wholeWork) checkDoor(o *unstructured.Unstructured, closed bool, state string) error {
	if w.door.IsClosed(o.Object) != closed || o.GetLabels()[v1alpha1.StateLabel] != state {
		return fmt.Errorf("%s: its door is closed: %t, its state is %q, want %t and %q: %v",
			o.GetName(), !closed, o.GetLabels()[v1alpha1.StateLabel], closed, state, o.GetAnnotations())
	}
	return nil
}

// awaitDoor waits until the door of an object is open or closed, with a state.
func (w *wholeWork) awaitDoor(t *testing.T, ns, name string, closed bool, state string) *unstructured.Unstructured {
	t.Helper()
	var o *unstructured.Unstructured
	env.Eventually(t, 3*patience, func(ctx context.Context) (err error) {
		if o, err = w.read(ctx, ns, name); err != nil {
			return err
		}
		return w.checkDoor(o, closed, state)
	})
	return o
}

// expectNotHeld creates an object that asks to wait and is not held, for a reason, and returns what the API server
// warns of.
func (w *wholeWork) expectNotHeld(t *testing.T, o *unstructured.Unstructured, reason string, options ...client.CreateOption) {
	t.Helper()
	closed := w.door.IsClosed(o.Object)
	warnings := createWarned(t, w.c, o, options...)
	if err := w.checkDoor(o, closed, v1alpha1.StateReleased); err != nil {
		t.Error(err)
	}
	notes := o.GetAnnotations()
	if notes[v1alpha1.OutcomeAnnotation] != v1alpha1.OutcomeNotHeld || !strings.Contains(notes[v1alpha1.ReasonAnnotation], reason) || !strings.Contains(warnings, reason) {
		t.Errorf("it is %v, with the warnings %q, want not-held because %q", notes, warnings, reason)
	}
}

// awaitGoesOn waits until the engine has made the pods of the work.
func (w *wholeWork) awaitGoesOn(t *testing.T, ns string) {
	t.Helper()
	env.Eventually(t, 4*patience, func(ctx context.Context) error {
		pods, err := podsOf(ctx, w.c, ns)
		if err == nil && len(pods) < w.pods {
			err = fmt.Errorf("the engine has made %d pods, want %d", len(pods), w.pods)
		}
		return err
	})
}

// plugin runs kubectl gridlatch on an object of the kind.
func (w *wholeWork) plugin(t *testing.T, verb, ns, name string) string {
	t.Helper()
	stdout, stderr, err := pluginAs(t, w.c.Kubeconfig, verb, strings.ToLower(w.door.Kind.Kind)+"/"+name, "-n", ns)
	if err != nil {
		t.Fatalf("%s: %v: %s", verb, err, stderr)
	}
	return stdout
}

// lists are the kinds of objects that engines make for their work, besides pods.
func lists() []apischema.GroupVersionKind {
	all := []apischema.GroupVersionKind{batchv1.SchemeGroupVersion.WithKind("Job"), {Group: "ray.io", Version: "v1", Kind: "RayCluster"}}
	for _, d := range door.All() {
		all = append(all, d.Kind)
	}
	return all
}

// membersIn returns all objects that belong to work in a namespace, pods among them.
func (s *wholeSite) membersIn(ctx context.Context, ns string, options ...client.ListOption) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	for _, kind := range append(lists(), hold.PodKind()) {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		if err := s.c.Client.List(ctx, list, append(options, client.InNamespace(ns))...); err != nil {
			return nil, err
		}
		all = append(all, list.Items...)
	}
	return all, nil
}

// expectNoneWaits fails if anything in a namespace waits, or has waited.
func (w *wholeWork) expectNoneWaits(t *testing.T, ns string) {
	t.Helper()
	all, err := w.membersIn(t.Context(), ns)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		gates, _, _ := unstructured.NestedSlice(o.Object, "spec", "schedulingGates")
		isTop := o.GetKind() == w.door.Kind.Kind && o.GetName() == "work"
		held, err := events(t.Context(), w.c, &o, v1alpha1.EventHeld)
		if err != nil {
			t.Fatal(err)
		}
		if o.GetLabels()[v1alpha1.StateLabel] == v1alpha1.StateHeld || len(gates) > 0 || held > 0 && !isTop || o.GetAnnotations()[v1alpha1.OutcomeAnnotation] == v1alpha1.OutcomeNotHeld {
			t.Errorf("%s %s waits, or has waited, or is said not to be held: %v %v, %d Events", o.GetKind(), o.GetName(), o.GetLabels(), o.GetAnnotations(), held)
		}
	}
}

// awaitNothingOf waits until an object and all that was made for it have gone.
func (w *wholeWork) awaitNothingOf(t *testing.T, ns, name string) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		all, err := w.membersIn(ctx, ns)
		if err != nil {
			return err
		}
		for _, o := range all {
			if o.GetName() == name || strings.HasPrefix(o.GetName(), name+"-") {
				return fmt.Errorf("%s %s is still there", o.GetKind(), o.GetName())
			}
		}
		return nil
	})
}

// patchedLabel is a merge patch of a label.
func patchedLabel(key, value string) string {
	return fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, key, value)
}

// expectNoErrors fails if controllers have logged errors.
func expectNoErrors(t *testing.T, logs ...string) {
	t.Helper()
	for line := range strings.Lines(strings.Join(logs, "\n")) {
		if strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("Gridlatch complains: %s", line)
		}
	}
}

// definitionOf names the CustomResourceDefinition of a kind.
func definitionOf(d *door.Door) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: d.Resource + "." + d.Kind.Group}}
	o.SetGroupVersionKind(apischema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	return o
}

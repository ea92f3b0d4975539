package ceiling

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/watching"
)

// cluster is an API server that the watchers of a world watch: its objects, and for each watcher
// the definition of what it watches.
type cluster struct {
	objects     *dynamicfake.FakeDynamicClient
	definitions map[schema.GroupVersionResource]*metadatafake.FakeMetadataClient
}

// watchingWorld returns a world with watchers of a cluster without any definition.
func watchingWorld(t *testing.T) (*world, *cluster) {
	w := newWorld(t)
	c := &cluster{definitions: map[schema.GroupVersionResource]*metadatafake.FakeMetadataClient{}}
	lists := map[schema.GroupVersionResource]string{scalerResource(): "CarbonAwareKedaScalerList"}
	for _, k := range kinds() {
		lists[k.resource()] = string(k) + "List"
	}
	c.objects = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists)
	w.prepare(c.objects, nil)
	for _, watcher := range []*watching.Resource{w.targets[scaledObject], w.targets[scaledJob], w.scalers} {
		scheme := metadatafake.NewTestScheme()
		if err := metav1.AddMetaToScheme(scheme); err != nil {
			t.Fatal(err)
		}
		definitions := metadatafake.NewSimpleMetadataClient(scheme)
		c.definitions[watcher.Name], watcher.Definitions = definitions, definitions
	}
	return w, c
}

// define makes a definition be, or go.
func (c *cluster) define(t *testing.T, resource schema.GroupVersionResource, exists bool) {
	t.Helper()
	tracker := c.definitions[resource].Tracker()
	definition := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"}}
	definition.Name = resource.GroupResource().String()
	err := tracker.Delete(watching.DefinitionResource(), "", definition.Name)
	if exists {
		err = tracker.Create(watching.DefinitionResource(), definition, "")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// create makes an object be.
func (c *cluster) create(t *testing.T, resource schema.GroupVersionResource, d document) {
	t.Helper()
	object := (&unstructured.Unstructured{Object: d}).DeepCopy()
	if _, err := c.objects.Resource(resource).Namespace("shop").Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// createScaler makes a scaler be.
func (c *cluster) createScaler(t *testing.T, s *carbonaware.CarbonAwareKedaScaler) {
	t.Helper()
	c.create(t, scalerResource(), unstructuredScaler(t, s))
}

func unstructuredScaler(t *testing.T, s *carbonaware.CarbonAwareKedaScaler) document {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
	if err != nil {
		t.Fatal(err)
	}
	content["apiVersion"], content["kind"] = carbonaware.GroupVersion().String(), "CarbonAwareKedaScaler"
	return content
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for range 3000 {
		if condition() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("not within 30 s: ", what)
}

// next looks at the targets in the queue until there is a patch.
func (w *world) next() bool {
	for w.queue.Len() > 0 {
		r, _ := w.queue.Get()
		w.look(r)
		w.queue.Done(r)
	}
	return len(w.patched) > 0
}

func (w *world) areKnown() bool {
	return w.scalers.IsKnown() && w.targets[scaledObject].IsKnown() && w.targets[scaledJob].IsKnown()
}

func TestCeilingsWakeWhenKEDAComesAndSleepWhenItGoes(t *testing.T) {
	w, c := watchingWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	web := asksFor(map[string]any{v1alpha1.PolicyAnnotation: "default"})
	c.create(t, scaledObject.resource(), web)
	if err := w.watch(ctx, w.queue); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is known that KEDA is not there", w.areKnown)
	if !w.targets[scaledObject].IsAbsent() || w.target(ref{scaledObject, "shop", "web"}) != nil {
		t.Fatal("objects of a kind that is not defined are known")
	}
	c.define(t, scaledObject.resource(), true)
	eventually(t, "KEDA's object gets its ceiling", w.next)
	if !strings.Contains(w.patched[0], `"spec":{"maxReplicaCount":5}`) {
		t.Errorf("patched: %s", w.patched)
	}
	c.define(t, scaledObject.resource(), false)
	eventually(t, "KEDA goes", func() bool { return w.targets[scaledObject].IsAbsent() })
	if w.target(ref{scaledObject, "shop", "web"}) != nil {
		t.Error("the object is still known")
	}
	w.patched = nil
	c.define(t, scaledObject.resource(), true)
	eventually(t, "KEDA comes again", w.next)
	stop()
	eventually(t, "the watch ends", func() bool { return w.targets[scaledObject].IsAbsent() })
}

func TestAScalerWakesItsTarget(t *testing.T) {
	w, c := watchingWorld(t)
	c.define(t, scaledObject.resource(), true)
	c.define(t, scalerResource(), true)
	c.create(t, scaledObject.resource(), asksFor(nil))
	if err := w.watch(t.Context(), w.queue); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything is known", w.areKnown)
	c.createScaler(t, scaler("shop", "a", 1))
	eventually(t, "the target gets its ceiling", w.next)
	if !strings.Contains(w.patched[0], `"spec":{"maxReplicaCount":10}`) || w.reason("shop/a") != carbonaware.ReasonSucceeded {
		t.Errorf("patched: %s; %s", w.patched, w.reason("shop/a"))
	}
	// the scaler goes: its target is looked at again
	if err := c.objects.Resource(scalerResource()).Namespace("shop").Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the target is looked at again", func() bool {
		return w.queue.Len() > 0 && len(w.scalersOf(ref{scaledObject, "shop", "web"})) == 0
	})
}

// TestWithoutARightToWatchTheReasonIsLoggedOnce refuses to list the definitions.
func TestWithoutARightToWatchTheReasonIsLoggedOnce(t *testing.T) {
	w, c := watchingWorld(t)
	attempts := make(chan struct{}, 100)
	c.definitions[scaledObject.resource()].PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		attempts <- struct{}{}
		return true, nil, apierrors.NewForbidden(watching.DefinitionResource().GroupResource(), "", context.Canceled)
	})
	lines := make(chan string, 100)
	logger := funcr.New(func(_, args string) { lines <- args }, funcr.Options{})
	ctx, stop := context.WithCancel(log.IntoContext(t.Context(), logger))
	defer stop()
	go w.targets[scaledObject].Run(ctx)
	for range 3 {
		select {
		case <-attempts:
		case <-time.After(time.Minute):
			t.Fatal("not tried again")
		}
	}
	if w.targets[scaledObject].IsKnown() {
		t.Error("it is known what objects there are")
	}
	stop()
	if n := len(lines); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if line := <-lines; !contains(line, "scaledobjects.keda.sh", "forbidden") {
		t.Errorf("logged: %s", line)
	}
}

func TestOnlyTargetsOfAPolicyThatChangesAreLookedAt(t *testing.T) {
	w := newWorld(t)
	other := asksFor(map[string]any{v1alpha1.PolicyAnnotation: "other"})
	other["metadata"].(map[string]any)["name"] = "api"
	none := asksFor(nil)
	none["metadata"].(map[string]any)["name"] = "plain"
	object := w.set(asksFor(map[string]any{v1alpha1.CeilingsAnnotation: "200=20,*=1"})) // by the default policy
	w.set(other)
	w.set(none)
	w.look(object.ref())
	changed := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	handler := w.onPolicy()
	for what, tell := range map[string]func(){
		"created": func() {
			handler.Create(t.Context(), event.TypedCreateEvent[*v1alpha1.CarbonPolicy]{Object: changed}, w.queue)
		},
		"updated": func() {
			handler.Update(t.Context(), event.TypedUpdateEvent[*v1alpha1.CarbonPolicy]{ObjectOld: changed, ObjectNew: changed}, w.queue)
		},
		"deleted": func() {
			handler.Delete(t.Context(), event.TypedDeleteEvent[*v1alpha1.CarbonPolicy]{Object: changed}, w.queue)
		},
	} {
		w.planned = nil
		tell()
		if n := w.queue.Len(); n != 1 {
			t.Fatalf("%s: %d targets are looked at again", what, n)
		}
		r, _ := w.queue.Get()
		w.queue.Done(r)
		if w.look(r); r != object.ref() || len(w.planned) != 1 {
			t.Errorf("%s: looked at %s again, and planned %v", what, r, w.planned)
		}
	}
}

// TestAnObjectWhoseDeletionWasMissedIsLookedAt is told of the deletion by a tombstone, as after a
// watch that broke.
func TestAnObjectWhoseDeletionWasMissedIsLookedAt(t *testing.T) {
	w := newWorld(t)
	gone := web(scaledObject, nil)
	w.onTarget().OnDelete(toolscache.DeletedFinalStateUnknown{Key: "shop/web", Obj: gone})
	w.onTarget().OnDelete(toolscache.DeletedFinalStateUnknown{Key: "shop/never-seen"})
	if n := w.queue.Len(); n != 1 {
		t.Fatalf("%d are looked at", n)
	}
	if r, _ := w.queue.Get(); r != gone.ref() {
		t.Errorf("%s is looked at", r)
	}
}

func TestWhatCannotBeReadOfAScalerIsNotKept(t *testing.T) {
	kept, err := keepScaler(&unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": "shop", "name": "a", "generation": int64(3)}, "spec": "nonsense",
	}})
	s, ok := kept.(*carbonaware.CarbonAwareKedaScaler)
	if err != nil || !ok || s.Name != "a" || s.Generation != 3 || targetOf(s).kind != "" {
		t.Errorf("got %+v, %v", kept, err)
	}
	// what is kept already is kept as it is
	for _, keep := range []func(any) (any, error){keepScaler, keepTarget(scaledObject, &triggerReader{})} {
		if again, err := keep(s); err != nil || again != any(s) {
			t.Errorf("got %v, %v", again, err)
		}
	}
}

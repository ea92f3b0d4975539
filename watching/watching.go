// Package watching keeps the objects of resources that other software defines. The software may be
// installed later than Gridlatch, be removed, and come again.
package watching

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// pageSize is how many objects are listed at once. An object can take a megabyte.
const pageSize = 50

// Resource keeps the objects of one resource for as long as the resource has a
// CustomResourceDefinition, and sleeps while it has none. Definitions, Name and Keep are required.
type Resource struct {
	// Objects reads the objects. If it is nil, their metadata are read alone.
	Objects     dynamic.Interface
	Definitions metadata.Interface
	Name        schema.GroupVersionResource
	// Selector is the label selector of the objects that are kept; empty keeps all.
	Selector string
	// Only is the name of the one object that is kept, for those who may read no other; empty keeps
	// all.
	Only string
	// IsBuiltIn says that the resource is Kubernetes' own, which has no definition and is always there.
	IsBuiltIn bool
	// Keep turns an object into what is kept of it. It is called with what it has returned, too.
	Keep     cache.TransformFunc
	Indexers cache.Indexers
	// Changed is called after IsKnown has become true, and after all objects have gone with their
	// definition.
	Changed func()
	// Defined is called when the definition has appeared or changed, before the objects are read. It
	// may be nil.
	Defined func(context.Context)

	mu       sync.RWMutex
	handlers []cache.ResourceEventHandler
	absent   bool                      // there is no definition, as far as is known
	informer cache.SharedIndexInformer // nil without a definition
	synced   bool
	stop     context.CancelFunc
	done     chan struct{} // closed once the informer has ended

	labels                        atomic.Pointer[metav1.ObjectMeta]
	hidesDefinition, hidesObjects atomic.Bool // the API server has forbidden the newest request
}

// DefinitionResource returns the resource of CustomResourceDefinitions.
func DefinitionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// AddHandler adds a handler of what changes. The handler is told of the objects that are there, too.
func (r *Resource) AddHandler(handler cache.ResourceEventHandler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handlers = append(r.handlers, handler)
	if r.informer != nil {
		_, _ = r.informer.AddEventHandler(handler) // it fails only if the informer has just ended
	}
}

// Run watches until the context ends.
func (r *Resource) Run(ctx context.Context) {
	if r.IsBuiltIn {
		r.begin(ctx)
		<-ctx.Done()
		r.end()
		return
	}
	name := r.Name.GroupResource().String()
	definitions := r.Definitions.Resource(DefinitionResource())
	itsOwn := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
	}
	informer := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(observe(&r.hidesDefinition, itsOwn,
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return definitions.List(ctx, o)
		}, definitions.Watch,
	), r.Definitions), &metav1.PartialObjectMetadata{}, 0, cache.Indexers{})
	logOnce(ctx, informer, "CustomResourceDefinition "+name)
	// the informer has not started: no error is possible
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(definition any) {
			r.noteDefinition(ctx, definition)
			r.begin(ctx)
		},
		UpdateFunc: func(_, definition any) { r.noteDefinition(ctx, definition) },
		DeleteFunc: func(any) { r.tellGone(r.end()) },
	})
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) && len(informer.GetStore().ListKeys()) == 0 {
			r.noteAbsence()
		}
	}()
	informer.RunWithContext(ctx)
	r.end()
}

// noteDefinition keeps the labels of the definition, and tells that the definition is there.
func (r *Resource) noteDefinition(ctx context.Context, definition any) {
	if o, ok := definition.(metav1.Object); ok {
		r.labels.Store(&metav1.ObjectMeta{Labels: o.GetLabels()})
	}
	if r.Defined != nil {
		r.Defined(ctx)
	}
}

// Definition returns the labels of the definition as it was last seen; nil if there was none.
func (r *Resource) Definition() *metav1.ObjectMeta { return r.labels.Load() }

// begin watches the objects. They have a definition now.
func (r *Resource) begin(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.informer != nil {
		return
	}
	ctx, r.stop = context.WithCancel(ctx)
	informer := r.newInformer()
	logOnce(ctx, informer, r.Name.GroupResource().String())
	// the informer has not started: no error is possible
	_ = informer.SetTransform(r.Keep)
	filled := []cache.InformerSynced{informer.HasSynced}
	for _, handler := range r.handlers {
		registration, _ := informer.AddEventHandler(handler)
		filled = append(filled, registration.HasSynced)
	}
	r.absent, r.synced, r.informer = false, false, informer
	done := make(chan struct{})
	r.done = done
	go func() {
		defer close(done)
		informer.RunWithContext(ctx)
	}()
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), filled...) {
			r.mu.Lock()
			r.synced = r.informer == informer
			r.mu.Unlock()
			r.tellChange()
		}
	}()
}

// newInformer returns an informer of the objects, or of their metadata.
func (r *Resource) newInformer() cache.SharedIndexInformer {
	selected := func(o *metav1.ListOptions) {
		o.LabelSelector = r.Selector
		if r.Only != "" {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", r.Only).String()
		}
	}
	about := r.Definitions.Resource(r.Name)
	lists, client, of := observe(&r.hidesObjects, selected,
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return about.List(ctx, o) }, about.Watch,
	), any(r.Definitions), runtime.Object(&metav1.PartialObjectMetadata{})
	if r.Objects != nil {
		objects := r.Objects.Resource(r.Name)
		lists, client, of = observe(&r.hidesObjects, selected,
			func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return objects.List(ctx, o) }, objects.Watch,
		), r.Objects, &unstructured.Unstructured{}
	}
	lists.ListWithContextFunc = InPages(pageSize, lists.ListWithContextFunc, r.Keep)
	return cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(lists, client), of, 0, r.Indexers)
}

// noteAbsence notes that there is no definition, unless one has come meanwhile.
func (r *Resource) noteAbsence() {
	r.mu.Lock()
	r.absent = r.informer == nil
	r.mu.Unlock()
	r.tellChange()
}

// end forgets the objects, and returns once no handler is told of them any more. It returns what was
// known, nil if nothing was.
func (r *Resource) end() cache.SharedIndexInformer {
	r.mu.Lock()
	ended, stop, done := r.informer, r.stop, r.done
	r.absent, r.synced, r.informer, r.stop = true, false, nil, nil
	r.mu.Unlock()
	if stop != nil {
		stop()
		<-done
	}
	r.hidesObjects.Store(false)
	r.tellChange()
	return ended
}

// tellGone tells the handlers that objects have gone. The API server tells nobody of objects that go
// with their definition.
func (r *Resource) tellGone(informer cache.SharedIndexInformer) {
	if informer == nil {
		return
	}
	r.mu.RLock()
	handlers := slices.Clone(r.handlers)
	r.mu.RUnlock()
	for _, object := range informer.GetStore().List() {
		for _, handler := range handlers {
			handler.OnDelete(object)
		}
	}
}

func (r *Resource) tellChange() {
	if r.Changed != nil {
		r.Changed()
	}
}

// observe returns what lists and watches with some options, and notes whether that is forbidden.
func observe(isForbidden *atomic.Bool, options func(*metav1.ListOptions), list cache.ListWithContextFunc, watches cache.WatchFuncWithContext) *cache.ListWatch {
	note := func(err error) {
		if err == nil || apierrors.IsForbidden(err) {
			isForbidden.Store(err != nil)
		}
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			options(&o)
			page, err := list(ctx, o)
			note(err)
			return page, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			options(&o)
			events, err := watches(ctx, o)
			note(err)
			return events, err
		},
	}
}

// logOnce logs why a watch fails when the reason changes, not at every attempt. Without the right
// to watch, this part of the program sleeps.
func logOnce(ctx context.Context, informer cache.SharedInformer, what string) {
	last := ""
	// the informer has not started: no error is possible
	_ = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		if err != nil && err.Error() != last {
			last = err.Error()
			log.FromContext(ctx).Info("cannot watch, trying again", "what", what, "why", last)
		}
	})
}

// Fill makes objects known as if they had been listed, for tests of what reads them.
func (r *Resource) Fill(objects ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.informer == nil {
		r.informer = cache.NewSharedIndexInformer(&cache.ListWatch{}, &unstructured.Unstructured{}, 0, r.Indexers)
	}
	r.absent, r.synced = false, true
	for _, object := range objects {
		if err := r.informer.GetIndexer().Add(object); err != nil {
			return err
		}
	}
	return nil
}

// Absent returns a resource without a definition, for tests of what reads it.
func Absent() *Resource { return &Resource{absent: true} }

// IsKnown reports whether all objects are known: they have been listed, or there are none because
// they have no definition.
func (r *Resource) IsKnown() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.absent || r.synced
}

// IsAbsent reports whether the objects have no definition.
func (r *Resource) IsAbsent() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.absent
}

// IsForbidden reports whether the API server forbids to list or to watch the objects or their
// definition. What was known before stays known, and grows old.
func (r *Resource) IsForbidden() bool { return r.hidesDefinition.Load() || r.hidesObjects.Load() }

// Indexer returns what is kept. It is empty without a definition.
func (r *Resource) Indexer() cache.Indexer {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.informer == nil {
		return cache.NewIndexer(cache.MetaNamespaceKeyFunc, r.Indexers)
	}
	return r.informer.GetIndexer()
}

// Get returns what is kept of the object with a namespace/name, nil if there is none.
func (r *Resource) Get(key string) any {
	object, _, _ := r.Indexer().GetByKey(key) // of a cache: no error is possible
	return object
}

// List returns what is kept of all objects.
func (r *Resource) List() []any { return r.Indexer().List() }

// Find returns what is kept of the objects with a value in an index.
func (r *Resource) Find(index, value string) []any {
	objects, _ := r.Indexer().ByIndex(index, value) // the index exists
	return objects
}

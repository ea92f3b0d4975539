package ceiling

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// watcher keeps the objects of one resource for as long as the resource has a
// CustomResourceDefinition, and sleeps while it has none.
type watcher struct {
	dynamic  dynamic.Interface
	metadata metadata.Interface
	resource schema.GroupVersionResource
	// keep turns an object into what is kept of it.
	keep     cache.TransformFunc
	indexers cache.Indexers
	handler  cache.ResourceEventHandler
	// changed is called after isKnown has become true, and after all objects have gone with their
	// definition.
	changed func()

	mu       sync.RWMutex
	absent   bool                      // there is no definition, as far as is known
	informer cache.SharedIndexInformer // nil without a definition
	synced   bool
	stop     context.CancelFunc
}

func definitionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// run watches until the context ends.
func (w *watcher) run(ctx context.Context) {
	name := w.resource.GroupResource().String()
	informer := metadatainformer.NewFilteredMetadataInformer(w.metadata, definitionResource(), metav1.NamespaceAll, 0, cache.Indexers{}, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
	}).Informer()
	w.logOnce(ctx, informer, "CustomResourceDefinition "+name)
	// the informer has not started: no error is possible
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { w.begin(ctx) },
		DeleteFunc: func(any) { w.end() },
	})
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) && len(informer.GetStore().ListKeys()) == 0 {
			w.noteAbsence()
		}
	}()
	informer.RunWithContext(ctx)
	w.end()
}

// begin watches the objects. They have a definition now.
func (w *watcher) begin(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.informer != nil {
		return
	}
	ctx, w.stop = context.WithCancel(ctx)
	informer := dynamicinformer.NewFilteredDynamicInformer(w.dynamic, w.resource, metav1.NamespaceAll, 0, w.indexers, nil).Informer()
	w.logOnce(ctx, informer, w.resource.GroupResource().String())
	// the informer has not started: no error is possible
	_ = informer.SetTransform(w.keep)
	registration, _ := informer.AddEventHandler(w.handler)
	w.absent, w.synced, w.informer = false, false, informer
	go informer.RunWithContext(ctx)
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
			w.mu.Lock()
			w.synced = w.informer == informer
			w.mu.Unlock()
			w.changed()
		}
	}()
}

// noteAbsence notes that there is no definition, unless one has come meanwhile.
func (w *watcher) noteAbsence() {
	w.mu.Lock()
	w.absent = w.informer == nil
	w.mu.Unlock()
	w.changed()
}

// end forgets the objects. Their definition has gone.
func (w *watcher) end() {
	w.mu.Lock()
	if w.stop != nil {
		w.stop()
	}
	w.absent, w.synced, w.informer, w.stop = true, false, nil, nil
	w.mu.Unlock()
	w.changed()
}

// logOnce logs why a watch fails when the reason changes, not at every attempt. Without the right
// to watch, this part of the program sleeps.
func (w *watcher) logOnce(ctx context.Context, informer cache.SharedInformer, what string) {
	last := ""
	// the informer has not started: no error is possible
	_ = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		if err != nil && err.Error() != last {
			last = err.Error()
			log.FromContext(ctx).Info("cannot watch, trying again", "what", what, "why", last)
		}
	})
}

// isKnown reports whether all objects are known: they have been listed, or there are none because
// they have no definition.
func (w *watcher) isKnown() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.absent || w.synced
}

// isAbsent reports whether the objects have no definition.
func (w *watcher) isAbsent() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.absent
}

func (w *watcher) indexer() cache.Indexer {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.informer == nil {
		return cache.NewIndexer(cache.MetaNamespaceKeyFunc, w.indexers)
	}
	return w.informer.GetIndexer()
}

// get returns what is kept of the object with a namespace/name, nil if there is none.
func (w *watcher) get(key string) any {
	object, _, _ := w.indexer().GetByKey(key) // of a cache: no error is possible
	return object
}

// list returns what is kept of all objects.
func (w *watcher) list() []any { return w.indexer().List() }

// find returns what is kept of the objects with a value in an index.
func (w *watcher) find(index, value string) []any {
	objects, _ := w.indexer().ByIndex(index, value) // the index exists
	return objects
}

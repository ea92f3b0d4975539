package feed

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/gridlatch/gridlatch/forecast"
)

// watcher is told what a watch of a ConfigMap finds out.
type watcher struct {
	exists    func(*corev1.ConfigMap) // the ConfigMap exists, or has changed
	isMissing func(what string)       // the ConfigMap does not exist, or exists no longer
	fails     func(error)             // the API server refuses the watch, or does not answer
}

// watch watches the ConfigMap of a source until the context ends. With backsOff, the pauses between
// failed attempts grow.
func watch(ctx context.Context, clientset kubernetes.Interface, source forecast.Source, backsOff bool, w watcher) {
	informer := cache.NewSharedInformer(cache.ToListWatcherWithWatchListSemantics(listWatch(clientset, source, backsOff), clientset), &corev1.ConfigMap{}, 0)
	// Both return errors only after the informer has started or stopped.
	_ = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		w.fails(err)
		cache.DefaultWatchErrorHandler(ctx, r, err)
	})
	var telling sync.Mutex
	wasFound := false
	found := func(o any) {
		telling.Lock()
		defer telling.Unlock()
		if configMap, ok := o.(*corev1.ConfigMap); ok {
			wasFound = true
			w.exists(configMap)
		}
	}
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    found,
		UpdateFunc: func(_, o any) { found(o) },
		DeleteFunc: func(any) { w.isMissing("has been deleted") },
	})
	go func() {
		if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) || len(informer.GetStore().ListKeys()) > 0 {
			return
		}
		telling.Lock()
		defer telling.Unlock()
		if !wasFound { // nor in the meantime
			w.isMissing("does not exist")
		}
	}()
	informer.RunWithContext(ctx)
}

// listWatch lists and watches one ConfigMap by its name, so that the right to read this one ConfigMap
// is enough.
func listWatch(clientset kubernetes.Interface, source forecast.Source, backsOff bool) *cache.ListWatch {
	configMaps := clientset.CoreV1().ConfigMaps(source.Namespace)
	only := fields.OneTermEqualSelector("metadata.name", source.Name).String()
	var r retryPauses
	attempt := func(ctx context.Context, call func() error) error {
		if !backsOff {
			return call()
		}
		return r.attempt(ctx, call)
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (list runtime.Object, err error) {
			options.FieldSelector = only
			err = attempt(ctx, func() (err error) { list, err = configMaps.List(ctx, options); return err })
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch apiwatch.Interface, err error) {
			options.FieldSelector = only
			err = attempt(ctx, func() (err error) { watch, err = configMaps.Watch(ctx, options); return err })
			return watch, err
		},
	}
}

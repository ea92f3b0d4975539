package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

// Feed keeps the store of forecasts current. Feed watches each ConfigMap that a policy names, or
// that [Feed.FollowAlso] was told of, by its name. So the right to read this one ConfigMap is
// enough. All exported fields are required.
type Feed struct {
	Clientset kubernetes.Interface
	Policies  policy.Policies
	Store     *forecast.Store
	Clock     policy.Clock
	Memory    *Memory
	// Changed receives the name of a source whose forecast has changed. Each channel needs a
	// buffer: Feed drops what does not fit.
	Changed []chan<- event.TypedGenericEvent[forecast.Source]

	mu           sync.Mutex
	followed     map[forecast.Source]followed // by source
	alsoFollowed []forecast.Source
}

// followed is a source that the feed watches.
type followed struct {
	stop   context.CancelFunc
	learns bool // what the models learn of the source outlives a restart
}

// SetupWithManager runs the feed in every replica, because each replica needs the forecasts.
func (f *Feed) SetupWithManager(mgr ctrl.Manager) error {
	everywhere := false
	err := ctrl.NewControllerManagedBy(mgr).Named("feed").
		For(&v1alpha1.CarbonPolicy{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{NeedLeaderElection: &everywhere}).Complete(f)
	if err != nil {
		return fmt.Errorf("set up feed: %w", err)
	}
	return mgr.Add(f)
}

// Start follows the sources of all policies until the context ends. A manager calls Start.
func (f *Feed) Start(ctx context.Context) error {
	if _, err := f.Reconcile(ctx, reconcile.Request{}); err != nil {
		return err
	}
	<-ctx.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	for source, w := range f.followed {
		w.stop()
		delete(f.followed, source)
	}
	return nil
}

// NeedLeaderElection makes a manager run the feed in every replica.
func (f *Feed) NeedLeaderElection() bool { return false }

// FollowAlso follows these sources, too, in place of the sources of the last call. What the models
// learn of these sources does not outlive a restart.
func (f *Feed) FollowAlso(ctx context.Context, sources []forecast.Source) error {
	f.mu.Lock()
	f.alsoFollowed = sources
	f.mu.Unlock()
	_, err := f.Reconcile(ctx, reconcile.Request{})
	return err
}

// Reconcile starts to watch the sources that a policy names, and stops to watch the sources that no
// policy names any more.
func (f *Feed) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	policies, err := f.Policies.List(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	wanted := map[forecast.Source]bool{} // the value tells whether learning outlives a restart
	for _, source := range f.alsoFollowed {
		wanted[source] = false
	}
	for _, rules := range policies {
		wanted[rules.Source] = true
	}
	for source, w := range f.followed {
		if memory, ok := wanted[source]; !ok || memory && !w.learns {
			w.stop()
			delete(f.followed, source)
			if !ok {
				f.Store.Forget(source)
				f.Memory.Forget(source)
			}
		}
	}
	for source, memory := range wanted {
		if _, ok := f.followed[source]; !ok {
			f.follow(ctx, source, memory)
		}
	}
	return reconcile.Result{}, nil
}

// Ready returns an error until the feed has looked at every source once.
func (f *Feed) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followed == nil {
		return errors.New("the feed has not looked for forecasts yet")
	}
	for source := range f.followed {
		if !f.Store.Snapshot(source).IsKnown() {
			return fmt.Errorf("the feed has not read the forecast %s yet", source)
		}
	}
	return nil
}

// follow starts to watch the ConfigMap of a source in the background. The watch goes on after the
// context has ended, until the feed stops the watch.
func (f *Feed) follow(ctx context.Context, source forecast.Source, memory bool) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	if f.followed == nil {
		f.followed = map[forecast.Source]followed{}
	}
	f.followed[source] = followed{stop, memory}
	w := &follower{feed: f, source: source, backsOff: !memory}
	go w.follow(ctx, memory)
}

// follower watches one ConfigMap.
type follower struct {
	feed   *Feed
	source forecast.Source
	// backsOff says that pauses between failed attempts grow.
	backsOff bool
}

// recallTimeout bounds how long a forecast waits for the history of its models. The history tells
// whether the forecast can be true.
const recallTimeout = 3 * time.Second

// follow reads the histories, and then watches the ConfigMap.
func (w *follower) follow(ctx context.Context, memory bool) {
	if memory {
		first, cancel := context.WithTimeout(ctx, recallTimeout)
		if all := w.feed.Memory.Recall(first, w.source, w.feed.Clock.Now()); !all || first.Err() != nil {
			go w.recall(ctx)
		}
		cancel()
	}
	w.run(ctx)
}

// recall reads the histories once the API server answers.
func (w *follower) recall(ctx context.Context) {
	// The only error is that the context has ended.
	_ = wait.PollUntilContextCancel(ctx, recallRetryPause, true, func(ctx context.Context) (bool, error) {
		all := w.feed.Memory.Recall(ctx, w.source, w.feed.Clock.Now())
		w.notify()
		return all, nil
	})
}

// run watches the ConfigMap until the context ends.
func (w *follower) run(ctx context.Context) {
	informer := cache.NewSharedInformer(cache.ToListWatcherWithWatchListSemantics(w.listWatch(), w.feed.Clientset), &corev1.ConfigMap{}, 0)
	// Both return errors only after the informer has started or stopped.
	_ = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		w.fail(fmt.Errorf("cannot watch %s: %w", w.configMap(), err))
		cache.DefaultWatchErrorHandler(ctx, r, err)
	})
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { w.offer(ctx, o) },
		UpdateFunc: func(_, o any) { w.offer(ctx, o) },
		DeleteFunc: func(any) { w.failMissing("has been deleted") },
	})
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) && len(informer.GetStore().ListKeys()) == 0 {
			w.failMissing("does not exist")
		}
	}()
	informer.RunWithContext(ctx)
}

// listWatch lists and watches the one ConfigMap by its name.
func (w *follower) listWatch() *cache.ListWatch {
	configMaps := w.feed.Clientset.CoreV1().ConfigMaps(w.source.Namespace)
	only := fields.OneTermEqualSelector("metadata.name", w.source.Name).String()
	var r retryPauses
	attempt := func(ctx context.Context, call func() error) error {
		if !w.backsOff {
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
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch watch.Interface, err error) {
			options.FieldSelector = only
			err = attempt(ctx, func() (err error) { watch, err = configMaps.Watch(ctx, options); return err })
			return watch, err
		},
	}
}

// fail stores what is wrong with the source. Listeners are notified once, and not at each attempt.
func (w *follower) fail(err error) {
	if before := w.feed.Store.Snapshot(w.source); before.IsKnown() && before.Problem() == err.Error() {
		return
	}
	w.feed.Store.Fail(w.source, err)
	w.notify()
}

// offer gives the store the forecast that the ConfigMap has now. The store keeps what is wrong with
// the forecast, for the status of the policy.
func (w *follower) offer(ctx context.Context, o any) {
	configMap, ok := o.(*corev1.ConfigMap)
	if !ok {
		return
	}
	now := w.feed.Clock.Now()
	document, err := forecast.FromConfigMap(configMap.BinaryData, configMap.Data, w.source.Key, lastWritten(configMap, now))
	if err != nil {
		err = fmt.Errorf("%s: %w", w.configMap(), err)
		w.feed.Store.Fail(w.source, err)
	} else {
		err = w.feed.Store.Offer(w.source, document, now)
	}
	if err != nil {
		log.FromContext(ctx).Info("cannot use a forecast", "source", w.source, "why", err.Error())
	}
	w.notify()
}

// failMissing stores that the ConfigMap does not exist.
func (w *follower) failMissing(what string) {
	w.fail(fmt.Errorf("%s %s", w.configMap(), what))
}

// notify tells the listeners that the forecast has changed, and does not wait for them: in a
// replica that does not lead, nobody listens.
func (w *follower) notify() {
	for _, changed := range w.feed.Changed {
		select {
		case changed <- event.TypedGenericEvent[forecast.Source]{Object: w.source}:
		default:
		}
	}
}

func (w *follower) configMap() string { return "ConfigMap " + w.source.Namespace + "/" + w.source.Name }

// lastWritten returns when an object was created or last updated, by its managed fields, and never
// a time after now.
func lastWritten(o metav1.Object, now time.Time) time.Time {
	last := o.GetCreationTimestamp().Time
	for _, entry := range o.GetManagedFields() {
		if entry.Time != nil && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	if last.After(now) {
		return now
	}
	return last
}

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

// Feed keeps the store of forecasts current. It watches each ConfigMap that a
// policy names, or that it was told of by [Feed.Also], by its name: no other
// ConfigMap is read, and the right to read just that one is enough. All exported
// fields are required.
type Feed struct {
	Clientset kubernetes.Interface
	Policies  policy.Policies
	Store     *forecast.Store
	Clock     policy.Clock
	Memory    *Memory
	// Changed are told the name of a source whose forecast has changed. Each
	// has to have room for a few: what does not fit is dropped.
	Changed []chan<- event.TypedGenericEvent[forecast.Source]

	mu      sync.Mutex
	watched map[forecast.Source]watched // by source
	also    []forecast.Source
}

// watched is a source that is followed.
type watched struct {
	stop   context.CancelFunc
	memory bool // what was learned of it is kept
}

// SetupWithManager runs the feed in every replica: each needs the forecast.
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

// Start follows the sources of the policies there are; for a manager.
func (f *Feed) Start(ctx context.Context) error {
	if _, err := f.Reconcile(ctx, reconcile.Request{}); err != nil {
		return err
	}
	<-ctx.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	for source, w := range f.watched {
		w.stop()
		delete(f.watched, source)
	}
	return nil
}

// NeedLeaderElection makes a manager run the feed in every replica.
func (f *Feed) NeedLeaderElection() bool { return false }

// Also follows these sources as well, in place of those of the last call. They
// are read as they are: nothing is learned of them that outlives a restart.
func (f *Feed) Also(ctx context.Context, sources []forecast.Source) error {
	f.mu.Lock()
	f.also = sources
	f.mu.Unlock()
	_, err := f.Reconcile(ctx, reconcile.Request{})
	return err
}

// Reconcile starts to watch the sources that a policy names, and stops those
// that none names any more.
func (f *Feed) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	policies, err := f.Policies.List(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	wanted := map[forecast.Source]bool{} // and whether with memory
	for _, source := range f.also {
		wanted[source] = false
	}
	for _, rules := range policies {
		wanted[rules.Source] = true
	}
	for source, w := range f.watched {
		if memory, ok := wanted[source]; !ok || memory && !w.memory {
			w.stop()
			delete(f.watched, source)
			if !ok {
				f.Store.Forget(source)
				f.Memory.Forget(source)
			}
		}
	}
	for source, memory := range wanted {
		if _, ok := f.watched[source]; !ok {
			f.follow(ctx, source, memory)
		}
	}
	return reconcile.Result{}, nil
}

// Ready returns an error until every source has been looked at once.
func (f *Feed) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watched == nil {
		return errors.New("the forecasts have not been looked for yet")
	}
	for source := range f.watched {
		if !f.Store.Snapshot(source).IsKnown() {
			return fmt.Errorf("forecast %s has not been looked at yet", source)
		}
	}
	return nil
}

// follow watches the ConfigMap of a source, in the background and for longer
// than the call: until it is stopped.
func (f *Feed) follow(ctx context.Context, source forecast.Source, memory bool) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	if f.watched == nil {
		f.watched = map[forecast.Source]watched{}
	}
	f.watched[source] = watched{stop, memory}
	w := &follower{feed: f, source: source, patient: !memory}
	go w.follow(ctx, memory)
}

// follower watches one ConfigMap.
type follower struct {
	feed    *Feed
	source  forecast.Source
	patient bool // it rests ever longer between attempts that fail
}

// remembering is how long a forecast waits for the memory of the models, which
// tells whether it can be true.
const remembering = 3 * time.Second

// follow recalls what was learned, and watches the ConfigMap.
func (w *follower) follow(ctx context.Context, memory bool) {
	if memory {
		first, cancel := context.WithTimeout(ctx, remembering)
		if all := w.feed.Memory.Recall(first, w.source, w.feed.Clock.Now()); !all || first.Err() != nil {
			go w.recall(ctx)
		}
		cancel()
	}
	w.run(ctx)
}

// recall gives the models their memory, whenever the API server answers.
func (w *follower) recall(ctx context.Context) {
	// the only error is that the context has ended
	_ = wait.PollUntilContextCancel(ctx, recallAgain, true, func(ctx context.Context) (bool, error) {
		all := w.feed.Memory.Recall(ctx, w.source, w.feed.Clock.Now())
		w.tell()
		return all, nil
	})
}

func (w *follower) run(ctx context.Context) {
	informer := cache.NewSharedInformer(w.listWatch(), &corev1.ConfigMap{}, 0)
	// both return errors only once the informer has started or stopped
	_ = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		w.fail(fmt.Errorf("cannot watch %s: %w", w.configMap(), err))
		cache.DefaultWatchErrorHandler(ctx, r, err)
	})
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { w.offer(ctx, o) },
		UpdateFunc: func(_, o any) { w.offer(ctx, o) },
		DeleteFunc: func(any) { w.missing("has been deleted") },
	})
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) && len(informer.GetStore().ListKeys()) == 0 {
			w.missing("does not exist")
		}
	}()
	informer.RunWithContext(ctx)
}

func (w *follower) listWatch() *cache.ListWatch {
	configMaps := w.feed.Clientset.CoreV1().ConfigMaps(w.source.Namespace)
	only := fields.OneTermEqualSelector("metadata.name", w.source.Name).String()
	var r pauses
	attempt := func(ctx context.Context, call func() error) error {
		if !w.patient {
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

// fail keeps what is wrong with the source. Whoever listens is told of it once,
// not at each attempt.
func (w *follower) fail(err error) {
	if before := w.feed.Store.Snapshot(w.source); before.IsKnown() && before.Problem() == err.Error() {
		return
	}
	w.feed.Store.Fail(w.source, err)
	w.tell()
}

// offer gives the store what the ConfigMap says now. What is wrong with it is
// kept there, for the policy's status.
func (w *follower) offer(ctx context.Context, o any) {
	configMap, ok := o.(*corev1.ConfigMap)
	if !ok {
		return
	}
	now := w.feed.Clock.Now()
	issue, err := forecast.FromConfigMap(configMap.BinaryData, configMap.Data, w.source.Key, lastWritten(configMap, now))
	if err != nil {
		err = fmt.Errorf("%s: %w", w.configMap(), err)
		w.feed.Store.Fail(w.source, err)
	} else {
		err = w.feed.Store.Offer(w.source, issue, now)
	}
	if err != nil {
		log.FromContext(ctx).Info("a forecast is not used", "source", w.source, "why", err.Error())
	}
	w.tell()
}

func (w *follower) missing(what string) {
	w.fail(fmt.Errorf("%s %s", w.configMap(), what))
}

// tell wakes whoever listens. It does not wait for them: in a replica that does not
// lead, nobody listens.
func (w *follower) tell() {
	for _, changed := range w.feed.Changed {
		select {
		case changed <- event.TypedGenericEvent[forecast.Source]{Object: w.source}:
		default:
		}
	}
}

func (w *follower) configMap() string { return "ConfigMap " + w.source.Namespace + "/" + w.source.Name }

// lastWritten returns when an object was created or last updated, as far as
// its managed fields tell; not in the future of now.
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

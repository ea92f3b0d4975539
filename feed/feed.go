package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
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

// wanted says how to follow a source.
type wanted struct {
	learns     bool            // what the models learn of the source outlives a restart
	substitute forecast.Source // see policy.Policy
	remedy     string          // see policy.Policy
}

// followed is a source that the feed watches.
type followed struct {
	wanted
	stop context.CancelFunc
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
	all := map[forecast.Source]wanted{}
	for _, source := range f.alsoFollowed {
		all[source] = wanted{}
	}
	for _, rules := range policies {
		all[rules.Source] = wanted{learns: true, substitute: rules.Substitute, remedy: rules.Remedy}
	}
	for source, w := range f.followed {
		if how, ok := all[source]; !ok || how.learns && !w.learns {
			w.stop()
			delete(f.followed, source)
			if !ok {
				f.Store.Forget(source)
				f.Memory.Forget(source)
			}
		}
	}
	for source, how := range all {
		if _, ok := f.followed[source]; !ok {
			f.follow(ctx, source, how)
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
func (f *Feed) follow(ctx context.Context, source forecast.Source, how wanted) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	if f.followed == nil {
		f.followed = map[forecast.Source]followed{}
	}
	f.followed[source] = followed{how, stop}
	w := &follower{feed: f, source: source, wanted: how}
	go w.follow(ctx)
}

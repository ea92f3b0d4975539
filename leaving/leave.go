package leaving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
)

const (
	// settleTime is how long after the begin of a removal work may still come that is held: until all
	// replicas know of the removal, and the objects that the webhook has held last are created. A
	// webhook that is asked after ours may take ten seconds, if it has the default time-out.
	settleTime = pollInterval + 10*time.Second
	// patience is how long Gridlatch tries to release what the API server refuses to have released.
	// Then it goes without that, so that no deletion waits for ever. A process that ends has less time.
	patience = 5 * time.Minute
	// tokenTime is how long the API server believes the token of a ServiceAccount after its deletion.
	tokenTime = time.Minute
	// unprotectTime is what the removal of the finalizers may take.
	unprotectTime = 15 * time.Second
	// attemptTime is what one attempt to release the work of a component may take. The account of this process
	// may be deleted at the begin of an attempt, and its token must then be good for leaving.
	attemptTime = 15 * time.Second
)

// Installation is where Gridlatch is installed, and what it must give back. All fields are required.
type Installation struct {
	Config *rest.Config
	// Client reads from the API server, and not from a cache.
	Client client.Client
	// Namespace is Gridlatch's own. Deployment is the name of the Deployment whose pods run Gridlatch.
	Namespace, Deployment string
	// Components are the components with anchors of their own, installed or not.
	Components []string
	Overrides  []Override
	Clock      clock.Clock
}

// Override gives back what is lent of somebody else's objects.
type Override struct {
	// Component is the component that gives the right to do so.
	Component string
	// Restore gives all fields back, and returns how many objects had one.
	Restore func(ctx context.Context, c client.Client, now time.Time) (int, error)
}

// EngineComponents returns the components of kinds that are held whole.
func EngineComponents() []string {
	var all []string
	for _, d := range door.All() {
		if !slices.Contains(all, d.Component) {
			all = append(all, d.Component)
		}
	}
	return all
}

// Released is what a release of everything has done.
type Released struct {
	Pods int
	// Overrides is how many objects got their own values back, by component.
	Overrides map[string]int
	// Forbidden are the resources that the account may not list.
	Forbidden []string
}

// restore gives all fields of an override back.
func (r *Released) restore(ctx context.Context, i *Installation, o Override) error {
	restored, err := o.Restore(ctx, i.Client, i.Clock.Now())
	if r.Overrides == nil {
		r.Overrides = map[string]int{}
	}
	r.Overrides[o.Component] += restored
	return err
}

// ReleaseAll releases all held work, and gives back all overrides.
func (i *Installation) ReleaseAll(ctx context.Context, reason string) (done Released, err error) {
	exit := hold.Exit{Client: i.Client, Reason: reason, Now: i.Clock.Now()}
	done.Pods, err = exit.ReleaseAll(ctx)
	done.Forbidden, err = hold.SplitForbidden(err)
	problems := []error{err}
	for _, o := range i.Overrides {
		problems = append(problems, done.restore(ctx, i, o))
	}
	return done, errors.Join(problems...)
}

// ReadyReplicas returns how many replicas are ready: none if there is no Deployment.
func (i *Installation) ReadyReplicas(ctx context.Context) (int32, error) {
	var d appsv1.Deployment
	err := i.Client.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: i.Deployment}, &d)
	if client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("read Deployment %s: %w", i.Deployment, err)
	}
	return d.Status.ReadyReplicas, nil
}

// Unprotect removes the finalizer from all anchors.
func (i *Installation) Unprotect(ctx context.Context) error {
	return unprotect(ctx, i.Config, i.anchors())
}

// anchors returns all anchors, also those of components that are not installed.
func (i *Installation) anchors() []anchor {
	anchors := baseAnchors(i.Namespace)
	for _, component := range i.Components {
		anchors = append(anchors, componentAnchors(component)...)
	}
	return anchors
}

// releaseComponent releases what needs the rights of a component.
func (i *Installation) releaseComponent(ctx context.Context, component, reason string) (done Released, err error) {
	for _, o := range i.Overrides {
		if o.Component == component {
			return done, done.restore(ctx, i, o)
		}
	}
	doors := slices.DeleteFunc(door.All(), func(d door.Door) bool { return d.Component != component })
	exit := hold.Exit{Client: i.Client, Reason: reason, Now: i.Clock.Now()}
	done.Pods, err = exit.ReleaseWholes(ctx, doors)
	done.Forbidden, err = hold.SplitForbidden(err)
	return done, err
}

// leave releases what an installation that is being removed holds, and then lets the anchors go. No
// replica holds work any more once settleTime has passed since the begin of the removal. An error says
// that anchors are still protected, or what could not be released.
func (i *Installation) leave(ctx context.Context, why string, since time.Time) error {
	log.FromContext(ctx).Info("Gridlatch is being removed: all held work is released", "why", why)
	left, err := i.releaseUntilNone(ctx, "Gridlatch is being removed: "+why, since, i.ReleaseAll)
	if err != nil {
		return err
	}
	return errors.Join(left, i.Unprotect(ctx))
}

// leaveComponent tries once to release what needs the rights of a component. The anchors of the component
// go when no work is left, or when the API server has refused for longer than Gridlatch has patience. The
// caller calls again until then, and sees in between whether the base is being removed, too.
func (i *Installation) leaveComponent(ctx context.Context, component string, since time.Time) error {
	began := i.Clock.Now()
	reason := "Gridlatch is being removed: the component " + component + " is being removed"
	_, err := i.releaseBefore(ctx, began.Add(attemptTime), reason, func(ctx context.Context, reason string) (Released, error) {
		return i.releaseComponent(ctx, component, reason)
	})
	switch {
	case err != nil && (ctx.Err() != nil || i.Clock.Since(since) < patience):
		return fmt.Errorf("held work of the component %s is not released yet: %w", component, err)
	case err != nil:
		err = fmt.Errorf("work of the component %s is left as it is: %w", component, err)
	case began.Sub(since) < settleTime:
		return nil
	}
	return errors.Join(err, unprotect(ctx, i.Config, componentAnchors(component)))
}

// releaseUntilNone calls release until a call that began after settleTime has succeeded. When its time
// is over, it returns what is left. The error says that it was broken off.
func (i *Installation) releaseUntilNone(ctx context.Context, reason string, since time.Time, release func(context.Context, string) (Released, error)) (left, err error) {
	least, most := i.bounds(ctx)
	for {
		began, until := i.Clock.Now(), i.until(ctx, least, most)
		done, err := i.releaseBefore(ctx, until, reason, release)
		now := i.Clock.Now()
		wait := max(retryPause, since.Add(settleTime).Sub(now))
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("held work is not released yet: %w", errors.Join(ctx.Err(), err))
		case err == nil && began.Sub(since) >= settleTime:
			return nil, nil
		case err != nil && i.hasNoRights(ctx):
			return nil, fmt.Errorf("the rights are gone, because another replica has released all held work, or somebody has removed the finalizer by hand: %w", err)
		case err != nil && !now.Before(until):
			return fmt.Errorf("left as it is: %w", err), nil
		case err != nil:
			log.FromContext(ctx).Error(err, "cannot release all held work; this is tried again", "until", until, "mayNotList", done.Forbidden)
			wait = retryPause
		case !now.Before(until):
			return nil, nil
		}
		if err := pause(ctx, i.Clock, max(0, min(wait, until.Sub(now)))); err != nil {
			return nil, fmt.Errorf("held work is not released yet: %w", err)
		}
	}
}

// releaseBefore calls release, and breaks it off in time.
func (i *Installation) releaseBefore(ctx context.Context, until time.Time, reason string, release func(context.Context, string) (Released, error)) (Released, error) {
	ctx, cancel := context.WithTimeout(ctx, until.Sub(i.Clock.Now()))
	defer cancel()
	done, err := release(ctx, reason)
	log.FromContext(ctx).Info("released held work", "pods", done.Pods, "overrides", done.Overrides)
	return done, err
}

// bounds returns until when Gridlatch tries to release what is refused: for one attempt at least, and
// for its patience at most, or for what the process has left but for the removal of the finalizers.
func (i *Installation) bounds(ctx context.Context) (least, most time.Time) {
	now := i.Clock.Now()
	most = now.Add(patience)
	if deadline, ok := ctx.Deadline(); ok {
		most = slices.MinFunc([]time.Time{most, deadline.Add(-unprotectTime)}, time.Time.Compare)
	}
	return now.Add(unprotectTime), most
}

// until returns the time within these bounds at which the account of this process must begin to remove
// the finalizers.
func (i *Installation) until(ctx context.Context, least, most time.Time) time.Time {
	if deletedAt := i.accountDeletedAt(ctx); !deletedAt.IsZero() {
		most = slices.MinFunc([]time.Time{most, deletedAt.Add(tokenTime - unprotectTime)}, time.Time.Compare)
	}
	return slices.MaxFunc([]time.Time{least, most}, time.Time.Compare)
}

// pause waits, or returns an error if the context ends first.
func pause(ctx context.Context, clock clock.Clock, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-clock.After(wait):
		return nil
	}
}

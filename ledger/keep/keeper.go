// Package keep books the work of a cluster once the work has ended. The leader runs a [Keeper].
//
// The keeper watches the Jobs and pods that were released or audited, and keeps a small record of
// each pod that runs. What is held has not started or is paused, and is not watched. In a pass, every ten
// minutes, the keeper books the groups that have ended on the pages of their days, and writes the
// pages that have changed.
//
// A group is booked once, whoever leads:
//
//   - The page of the day on which a group ended tells that the group is booked, for as long as the
//     group could be booked again. That is until everything that had ended then is booked, which
//     the newest page says (the watermark).
//   - What is known of groups that have not ended is written beside the newest page, together with
//     the groups whose page is not written yet. So a group that goes while nobody leads is not lost.
//   - A page is only written as it was read. Of two leaders, one fails, and reads all pages again.
package keep

import (
	"context"
	"errors"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/pages"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// DefaultInterval is how often what has ended is booked.
	DefaultInterval = 10 * time.Minute
	// lastPassTimeout bounds the pass at the end of the program.
	lastPassTimeout = 5 * time.Second
)

// Keeper books what has ended.
type Keeper struct {
	Clientset kubernetes.Interface
	Store     *forecast.Store
	Policies  policy.Policies
	Pages     pages.Store
	Clock     policy.Clock
	Metrics   *Metrics
	// Nodes reads the metadata of nodes from a cache. It may be nil.
	Nodes client.Reader
	// Interval is how often what has ended is booked.
	Interval time.Duration
	// MeterAt returns the meter at an address; nil if there is none. It may be nil.
	MeterAt func(address string) Meter
	// Wholes reads objects of engines. It may be nil.
	Wholes *Wholes
	// Rows may be nil.
	Rows Rows
	// Pods reads pods from the API server: all that run, to tell how much could wait, and those of a Job
	// that no watch has brought. It may be nil.
	Pods client.Reader
	// Exists reports whether a Job or an object of an engine exists, or may exist, that no watch of the keeper
	// brings any more: it is paused, and not watched meanwhile. It may be nil.
	Exists func(kind, namespace, name string, uid types.UID) bool

	known   *known
	shelf   *shelf
	further *further
}

// Start books until the context ends, and once more then. A manager calls Start on the leader.
func (k *Keeper) Start(ctx context.Context) error {
	k.prepare()
	if !k.loadAtLast(ctx) {
		return nil // the context has ended
	}
	jobs, pods := k.jobSink(), k.podSink(watchPods)
	go k.watch(ctx, jobs, &batchv1.Job{}, startedWork, k.Clientset)
	go k.watch(ctx, pods, &corev1.Pod{}, startedWork, k.Clientset)
	k.watchFurther(ctx)
	if k.Wholes != nil {
		for _, d := range door.All() {
			go k.watchWholes(ctx, &d)
		}
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), jobs.synced.Load, pods.synced.Load) {
		return nil
	}
	wait.UntilWithContext(ctx, k.try, k.Interval)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPassTimeout)
	defer cancel()
	k.try(last)
	return nil
}

// prepare makes what a keeper needs inside.
func (k *Keeper) prepare() {
	k.known, k.further = newKnown(), &further{}
	k.shelf = &shelf{store: k.Pages, actuals: k.actuals}
}

// loadAtLast loads until that succeeds, and logs each new reason why it does not. It returns false if the
// context ends first.
func (k *Keeper) loadAtLast(ctx context.Context) bool {
	told := ""
	err := wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
		err := k.load(ctx, k.Clock.Now())
		if err == nil || ctx.Err() != nil {
			return err == nil, nil
		}
		k.Metrics.failures.Inc()
		if err.Error() != told {
			told = err.Error()
			log.FromContext(ctx).Error(err, "cannot read the ledger, trying again")
		}
		return false, nil
	})
	return err == nil
}

// load reads the pages, and what was open when the leader before wrote it.
func (k *Keeper) load(ctx context.Context, now time.Time) error {
	if err := k.shelf.load(ctx, now); err != nil {
		return err
	}
	o, err := decodeOpen(k.shelf.open)
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot read which groups had not ended: what has gone meanwhile is not booked")
		return nil
	}
	for _, p := range o.Pods {
		p.nodeLabels = k.nodeLabels(p.Node) // no event brings what has gone
	}
	k.known.restore(o)
	for _, g := range o.Ended {
		if _, err := k.shelf.book(ctx, g); err != nil {
			return err
		}
	}
	for _, p := range o.Pods {
		if p != nil && p.Watch != watchPods { // else nobody would tell that it has gone
			k.further.begin(p.Watch)
		}
	}
	return nil
}

// try runs a pass, and logs what fails.
func (k *Keeper) try(ctx context.Context) {
	began := k.Clock.Now()
	err := k.pass(ctx, began)
	k.Metrics.passes.Observe(k.Clock.Now().Sub(began).Seconds())
	if err != nil && ctx.Err() == nil {
		k.Metrics.failures.Inc()
		log.FromContext(ctx).Error(err, "cannot book everything that has ended, trying again later")
	}
}

// pass books what has ended, and writes what has changed.
func (k *Keeper) pass(ctx context.Context, now time.Time) error {
	if err := k.shelf.load(ctx, now); err != nil {
		return err
	}
	k.known.passed(now)
	booking := k.bookEnded(ctx, now)
	k.offerRows()
	k.Metrics.count(k.shelf.count(now))
	counting := k.countPods(ctx, now)
	archiving := k.shelf.archive(ctx, now)
	writing := k.shelf.write(ctx, now, func(ended []ledger.Group) ([]byte, error) {
		o := k.known.open()
		o.Ended = ended
		return o.encode()
	})
	if writing == nil {
		k.Metrics.written(now)
	}
	k.Metrics.show(k.shelf.recent(now), k.known.size()+k.shelf.unwritten())
	return errors.Join(booking, counting, archiving, writing)
}

// bookEnded books the groups that have ended.
func (k *Keeper) bookEnded(ctx context.Context, now time.Time) error {
	ofPolicy := map[string]*rules{}
	var due, finished []*group
	var problems []error
	for _, g := range k.known.groups(k.shelf.isBooked, now) {
		if k.isPaused(g.owner) {
			continue
		}
		fate := g.fate(now, k.shelf.until)
		if fate == isVoid || k.shelf.isBooked(g.uid) {
			finished = append(finished, g)
			continue
		}
		name, err := g.notes().Policy, error(nil)
		if g.rules = ofPolicy[name]; g.rules == nil {
			if g.rules, err = k.rulesOf(ctx, name); err != nil {
				problems = append(problems, err)
				continue
			}
			ofPolicy[name] = g.rules
		}
		if fate == lasts {
			k.foldLong(g)
			continue
		}
		due = append(due, g)
	}
	if err := k.findMissed(ctx, due, now); err != nil {
		problems = append(problems, err) // they are booked without
	}
	measureAll(ctx, due, now)
	for _, g := range due {
		if err := k.book(ctx, g, now); err != nil {
			problems = append(problems, err)
			continue
		}
		finished = append(finished, g)
	}
	k.known.finish(finished)
	return joinFirst(problems)
}

// isPaused reports whether an owner that seems to be gone has only been paused.
func (k *Keeper) isPaused(o *owner) bool {
	return o != nil && !o.Gone.IsZero() && o.Ended.IsZero() && k.Exists != nil && k.Exists(o.Kind, o.Namespace, o.Name, o.UID)
}

// book books a group that has ended.
func (k *Keeper) book(ctx context.Context, g *group, now time.Time) error {
	entry, err := g.account(now)
	if err != nil {
		return err
	}
	_, err = k.shelf.book(ctx, entry)
	return err
}

// maxProblems bounds the problems of a pass that are told.
const maxProblems = 3

// joinFirst joins the first errors. That a meter is asked again is no error, unless the meter has
// failed.
func joinFirst(problems []error) error {
	var told []error
	for _, err := range problems {
		if err != errLater && len(told) < maxProblems { //nolint:errorlint // a failed meter is wrapped
			told = append(told, err)
		}
	}
	return errors.Join(told...)
}

// actuals returns the actual intensities of a location.
func (k *Keeper) actuals(source, location string) *forecast.Series {
	f, _ := k.Store.Snapshot(forecast.ParseSource(source)).Forecast(location)
	return f.Actuals // nil knows nothing
}

// nodeLabels returns the labels of a node, which belong to a cache; nil if the node is not known.
func (k *Keeper) nodeLabels(name string) map[string]string {
	if k.Nodes == nil || name == "" {
		return nil
	}
	node := policy.NewMetadata(policy.NodeKind())
	if err := k.Nodes.Get(context.Background(), client.ObjectKey{Name: name}, node, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	return node.Labels
}

package cluster

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// hourlyHorizon is how far ahead the releases are counted hour by hour.
	hourlyHorizon = 48 * time.Hour
	// maxOverdueNames bounds how many overdue groups are named.
	maxOverdueNames = 5
)

// group is held work with one decision.
type group struct {
	work      Work // one of its objects
	namespace string
	policy    string
	pods      int
	// planned and latest are starts, nil if unknown.
	planned, latest *time.Time
	// isWhole says that the owner itself is held, and so has no pods.
	isWhole bool
	// hasRun says that the Job has pods, or had some.
	hasRun bool
	// isPaused says that the work has run before, and waits to go on.
	isPaused bool
}

// groups are the held groups by their owners. An owner is in the namespace of what it owns.
type groups map[groupKey]*group

type groupKey struct {
	namespace string
	uid       types.UID
}

// held returns the held groups: a Job with its pods, the pods of another owner, what else is held whole,
// or one pod. Released work is not among them, even if its label still says that it is held. The
// warnings name the kinds that may not be read.
func (c *Cluster) held(ctx context.Context, namespace string) (all groups, warnings []string, err error) {
	all = groups{}
	err = hold.EachJob(ctx, c.API, namespace, v1alpha1.StateLabel, selection.Equals, func(job *batchv1.Job) { all.addOwner(job) })
	if err != nil {
		return nil, nil, err
	}
	var unread []string
	for _, d := range door.All() {
		err := hold.EachWhole(ctx, c.API, &d, namespace, all.addOwner)
		if apierrors.IsForbidden(err) {
			unread = append(unread, d.Resource)
		} else if err != nil {
			return nil, nil, err
		}
	}
	if len(unread) > 0 {
		warnings = []string{"you may not read " + strings.Join(unread, ", ") + ": what is held of them is not counted"}
	}
	err = hold.EachGatedPod(ctx, c.API, namespace, selection.Equals, all.addPod)
	if err != nil {
		return nil, nil, err
	}
	maps.DeleteFunc(all, func(_ groupKey, g *group) bool { return g.hasRun && g.pods == 0 })
	return all, warnings, nil
}

func (all groups) addOwner(o client.Object) {
	owner, ok := hold.OwnerOf(o)
	isWhole := hold.HeldBy(o.GetAnnotations()) != ""
	if !ok || isWhole && !owner.IsSuspended {
		return
	}
	g := all.add(groupKey{o.GetNamespace(), o.GetUID()}, o)
	if g.isWhole = isWhole; isWhole {
		g.pods = owner.Pods
	} else if job, ok := o.(*batchv1.Job); ok {
		g.hasRun = job.Status.Active+job.Status.Succeeded > 0
	}
}

func (all groups) addPod(pod *corev1.Pod) {
	key := groupKey{pod.Namespace, pod.UID}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		key.uid = owner.UID
	}
	g := all[key]
	if g == nil {
		g = all.add(key, pod)
	}
	if !g.isWhole {
		g.pods++
	}
}

func (all groups) add(key groupKey, o client.Object) *group {
	annotations := o.GetAnnotations()
	g := &group{
		work: WorkOf(o), namespace: o.GetNamespace(), policy: cmp.Or(annotations[v1alpha1.PolicyAnnotation], v1alpha1.DefaultPolicy),
		planned: instant(annotations[v1alpha1.PlannedStartAnnotation]), latest: instant(annotations[v1alpha1.LatestStartAnnotation]),
	}
	g.isPaused = policy.IsPaused(o)
	all[key] = g
	return g
}

// Release counts the work that is planned to start within an hour. Without a time, it counts what
// starts later, or is not planned yet.
type Release struct {
	From   *time.Time `json:"from,omitempty"`
	Groups int        `json:"groups"`
	Pods   int        `json:"pods"`
}

// releases counts hour by hour what is planned, in order of time. The last may be without a time.
func (all groups) releases(now time.Time) []Release {
	hours, rest := map[time.Time]*Release{}, Release{}
	for _, g := range all {
		r := &rest
		planned := ptr.Deref(g.planned, now)
		if planned.Before(now) {
			planned = now
		}
		if hour := planned.Truncate(time.Hour); g.planned != nil && hour.Before(now.Add(hourlyHorizon)) {
			if hours[hour] == nil {
				hours[hour] = &Release{From: &hour}
			}
			r = hours[hour]
		}
		r.Groups++
		r.Pods += g.pods
	}
	sorted := []Release{}
	for _, hour := range slices.SortedFunc(maps.Keys(hours), time.Time.Compare) {
		sorted = append(sorted, *hours[hour])
	}
	if rest.Groups > 0 {
		sorted = append(sorted, rest)
	}
	return sorted
}

// Overdue counts the groups that should have been released and are still held.
type Overdue struct {
	Since  time.Time `json:"since"`
	Groups int       `json:"groups"`
	Pods   int       `json:"pods"`
	// First are those that have been overdue for longest.
	First []OverdueGroup `json:"first"`
}

// OverdueGroup names a group by one of its objects.
type OverdueGroup struct {
	Kind      Kind      `json:"kind"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Since     time.Time `json:"since"`
}

// overdue returns nil if no group is overdue.
func (all groups) overdue(now time.Time) *Overdue {
	found := &Overdue{}
	for _, g := range all {
		if since := overdueSince(now, g.planned, g.latest); since != nil {
			found.Groups++
			found.Pods += g.pods
			found.First = append(found.First, OverdueGroup{Kind: g.work.Kind, Namespace: g.namespace, Name: g.work.Name, Since: *since})
		}
	}
	if found.Groups == 0 {
		return nil
	}
	slices.SortFunc(found.First, func(a, b OverdueGroup) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	found.Since, found.First = found.First[0].Since, found.First[:min(found.Groups, maxOverdueNames)]
	return found
}

package gating

import (
	"cmp"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// podsExpectedFor is how long after its release a Job counts with all the pods that it is going
	// to have.
	podsExpectedFor = 10 * time.Second
	// nodeExpectedFor is how long a released pod without a node counts: an autoscaler may be making
	// a node. After that, the pod takes no power that anybody waits for.
	nodeExpectedFor = 10 * time.Minute
	// maxWholeRun bounds how long what is held whole counts with pods that nobody sees.
	maxWholeRun = 24 * time.Hour
)

// running is what a policy has released and what still runs, which occupies room below the
// ceilings. It is read from the cache for every pass, so a missed event cannot make it wrong for
// good.
type running struct {
	byLocation map[string][]plan.Run // by location
	changesAt  []time.Time           // when expected pods no longer count
}

// pods returns how many pods run at a location.
func (r running) pods(location string) int {
	pods := 0
	for _, run := range r.byLocation[location] {
		pods += run.Pods
	}
	return pods
}

// unseenRelease is a release that the cache does not show yet, and its location.
type unseenRelease struct {
	*record
	location string
}

// running returns what a policy has released and what still runs. A pod runs if it has a node,
// whatever its labels say. A pod without a node counts for a while if the loop has released the pod
// or its Job: anybody can make a pod that fits nowhere and says that it was released. unseen are
// the releases that the cache does not show yet. planned are the owners that run and are planned, which
// take their room in the plan.
func (r *Records) running(rules *policy.Policy, unseen []unseenRelease, planned map[types.UID]bool, own *ownReleases, now time.Time) (running, error) {
	all := running{byLocation: map[string][]plan.Run{}}
	pods, owners, err := r.releasedBy(rules.Name, unseen)
	if err != nil {
		return all, err
	}
	locations := make(map[types.UID]string, len(unseen))
	for _, o := range unseen {
		locations[o.UID] = o.location
	}
	locationOf := func(o *record) string { return cmp.Or(locations[o.UID], rules.LocationOf(o.Annotations)) }
	existing := map[types.UID]int{}
	for _, pod := range pods {
		owner := metav1.GetControllerOfNoCopy(pod)
		if owner != nil {
			if existing[owner.UID]++; planned[owner.UID] {
				continue
			}
		}
		if pod.hasNode || own.isRecent(pod.UID, owner, now) {
			all.add(rules, pod, locationOf(pod), startedAt(pod, now), 1)
		}
	}
	for _, owner := range owners {
		if at, until, missing := own.missingPods(owner, existing[owner.UID], now); missing > 0 && !planned[owner.UID] {
			all.add(rules, owner, locationOf(owner), at, missing)
			all.changesAt = append(all.changesAt, until)
		}
	}
	return all, nil
}

// releasedBy returns the pods that a policy has released, and the owners, with what the cache does not show
// yet.
func (r *Records) releasedBy(policy string, unseen []unseenRelease) (pods, owners []*record, err error) {
	if pods, err = r.pods.list(runningIndex, policy); err != nil {
		return nil, nil, err
	}
	if owners, err = r.listOwners(runningIndex, policy); err != nil {
		return nil, nil, err
	}
	for _, o := range unseen {
		if o.Kind == hold.PodKind().Kind {
			pods = append(pods, o.record)
		} else {
			owners = append(owners, o.record)
		}
	}
	return pods, owners, nil
}

// add counts pods at the location that they were released to, although the scheduler may have put
// them elsewhere.
func (r running) add(rules *policy.Policy, o *record, location string, started time.Time, pods int) {
	until := started.Add(rules.TaskOf(o).Duration)
	r.byLocation[location] = append(r.byLocation[location], plan.Run{Until: until, Pods: pods})
}

// startedAt returns when something was released: now if its record still says held, or names a time
// in the future, and its creation if its record names no time.
func startedAt(o *record, now time.Time) time.Time {
	if o.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld {
		return now
	}
	at, err := time.Parse(time.RFC3339, o.Annotations[v1alpha1.StartedAnnotation])
	if err != nil {
		at = o.CreationTimestamp.Time
	}
	if at.After(now) {
		return now
	}
	return at
}

// ownReleases remember for a while what the loop has released below ceilings. The zero value is
// empty and ready for use. A restart forgets them; then a pod counts once it has a node, and what is
// held whole and is no Job does not count: anybody can make an object that claims many pods.
type ownReleases struct {
	mu    sync.Mutex
	byUID map[types.UID]ownRelease
}

// ownRelease is the release of one pod or owner.
type ownRelease struct {
	at, plannedEnd time.Time
	// hadRoom says that there was room for the work. Work at its latest start is released without
	// room, and takes none before its pods exist.
	hadRoom bool
}

// add remembers a release.
func (r *ownReleases) add(uid types.UID, at, plannedEnd time.Time, inRoom bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byUID == nil {
		r.byUID = map[types.UID]ownRelease{}
	}
	r.byUID[uid] = ownRelease{at, plannedEnd, inRoom}
}

// forget forgets the releases that are too old to count.
func (r *ownReleases) forget(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for uid, release := range r.byUID {
		if age := now.Sub(release.at); age < 0 || age >= nodeExpectedFor && !now.Before(release.plannedEnd) { // a clock may have been set back
			delete(r.byUID, uid)
		}
	}
}

// isRecent reports whether the loop has released a pod or its owner lately.
func (r *ownReleases) isRecent(pod types.UID, owner *metav1.OwnerReference, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	release, ok := r.byUID[pod]
	if !ok && owner != nil {
		release, ok = r.byUID[owner.UID]
	}
	return ok && now.Sub(release.at) < nodeExpectedFor
}

// missingPods returns how many pods of an owner are expected beside those that exist in the cache, when
// the owner was released, and until when the pods are expected. The pods of a Job are in the cache soon.
// The pods of another kind need not say that they were decided on, so they count until the work is over,
// and until its planned end at most. They do not count while somebody else keeps the work suspended:
// only Kueue may be about to start the work.
func (r *ownReleases) missingPods(owner *record, existing int, now time.Time) (at, until time.Time, missing int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	release := r.byUID[owner.UID]
	until = release.at.Add(podsExpectedFor)
	isSuspendedByOthers := owner.isSuspended && owner.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased
	if owner.Kind != hold.JobKind().Kind && !isSuspendedByOthers {
		until = release.plannedEnd
	}
	if !release.hadRoom || owner.isOver || !now.Before(until) {
		return release.at, until, 0
	}
	return release.at, until, int(owner.podsToRun) - existing
}

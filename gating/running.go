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
)

// running is what a policy has released and what still runs, which occupies room below the
// ceilings. It is read from the cache for every pass, so a missed event cannot make it wrong for
// good.
type running struct {
	byLocation map[string][]plan.Run // by location
	changesAt  []time.Time           // when pods no longer count that may be to come
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
// the releases that the cache does not show yet.
func (r *Records) running(rules *policy.Policy, leaving []unseenRelease, vouched *ownReleases, now time.Time) (running, error) {
	all := running{byLocation: map[string][]plan.Run{}}
	pods, err := r.pods.list(runningIndex, rules.Name)
	if err != nil {
		return all, err
	}
	jobs, err := r.jobs.list(runningIndex, rules.Name)
	if err != nil {
		return all, err
	}
	to := make(map[types.UID]string, len(leaving))
	for _, o := range leaving {
		to[o.UID] = o.location
		if o.Kind == hold.JobKind().Kind {
			jobs = append(jobs, o.record)
		} else {
			pods = append(pods, o.record)
		}
	}
	where := func(o *record) string { return cmp.Or(to[o.UID], rules.LocationOf(o.Annotations)) }
	seen := map[types.UID]int{}
	for _, pod := range pods {
		owner := metav1.GetControllerOfNoCopy(pod)
		if owner != nil {
			seen[owner.UID]++
		}
		if pod.hasNode || vouched.isRecent(pod.UID, owner, now) {
			all.add(rules, pod, where(pod), startedAt(pod, now), 1)
		}
	}
	for _, job := range jobs {
		if at, missing := vouched.missingPods(job, seen[job.UID], now); missing > 0 {
			all.add(rules, job, where(job), at, missing)
			all.changesAt = append(all.changesAt, at.Add(podsExpectedFor))
		}
	}
	return all, nil
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
// empty and ready for use. A restart forgets them; then a pod counts once it has a node.
type ownReleases struct {
	mu    sync.Mutex
	byUID map[types.UID]ownRelease
}

// ownRelease is the release of one pod or Job.
type ownRelease struct {
	at time.Time
	// hadRoom says that there was room for the work. Work at its latest start is released without
	// room, and takes none before its pods exist.
	hadRoom bool
}

// add remembers a release.
func (v *ownReleases) add(uid types.UID, at time.Time, inRoom bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byUID == nil {
		v.byUID = map[types.UID]ownRelease{}
	}
	v.byUID[uid] = ownRelease{at, inRoom}
}

// forget forgets the releases that are too old to count.
func (v *ownReleases) forget(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for uid, known := range v.byUID {
		if age := now.Sub(known.at); age < 0 || age >= nodeExpectedFor { // clocks are set back, too
			delete(v.byUID, uid)
		}
	}
}

// isRecent reports whether the loop has released a pod or its owner lately.
func (v *ownReleases) isRecent(pod types.UID, owner *metav1.OwnerReference, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.byUID[pod]
	if !ok && owner != nil {
		known, ok = v.byUID[owner.UID]
	}
	return ok && now.Sub(known.at) < nodeExpectedFor
}

// missingPods returns how many pods of a Job are expected beside those that exist, and when the Job
// was released.
func (v *ownReleases) missingPods(job *record, there int, now time.Time) (at time.Time, missing int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.byUID[job.UID]
	if !known.hadRoom || now.Sub(known.at) >= podsExpectedFor {
		return known.at, 0
	}
	return known.at, int(job.podsToRun) - there
}

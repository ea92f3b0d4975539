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
	// settling is how long after the release of a Job its pods may still be to
	// come: until then it counts as large as it is going to be.
	podsExpectedFor = 10 * time.Second
	// placing is how long after its release a pod counts that has no node yet: an
	// autoscaler may be making one. After that, it takes no power that anybody waits
	// for.
	nodeExpectedFor = 10 * time.Minute
)

// running is what a policy has released and still runs: what occupies room below
// the ceilings. It is read from the cache anew for every pass, so that nothing
// that was missed can make it wrong for good.
type running struct {
	byLocation map[string][]plan.Run // by location
	changesAt  []time.Time           // when pods no longer count that may be to come
}

// pods counts the pods at a location.
func (r running) pods(location string) int {
	pods := 0
	for _, run := range r.byLocation[location] {
		pods += run.Pods
	}
	return pods
}

// freed is something that was released, and where to, although the cache shows
// it as held.
type unseenRelease struct {
	*record
	location string
}

// running lists what a policy has released and still runs. A pod runs if it has a
// node, whatever it says of itself. One without a node counts as well for a while,
// if vouched knows that the loop let it or its Job go: anybody can make a pod that
// fits nowhere and says that it was released. Leaving are those that were released
// although the cache shows them as held.
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

// add counts pods where they were released to, though the scheduler may have put
// them elsewhere.
func (r running) add(rules *policy.Policy, o *record, location string, started time.Time, pods int) {
	until := started.Add(rules.TaskOf(o).Duration)
	r.byLocation[location] = append(r.byLocation[location], plan.Run{Until: until, Pods: pods})
}

// startedAt returns when something was released: if its record does not tell,
// when it was created, and if it is still shown as held, or says that it was
// released in the future, now.
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

// vouchers remember for a while what the loop itself has let go below ceilings. The
// zero value is empty and ready for use. A restart forgets them: then a pod counts
// from when it has a node.
type ownReleases struct {
	mu    sync.Mutex
	byUID map[types.UID]ownRelease
}

// voucher is of one pod or Job.
type ownRelease struct {
	at time.Time
	// inRoom says that there was room for it: what goes at its latest start goes
	// regardless, and takes room from nobody before its pods are there.
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

// forget forgets what was let go too long ago to matter.
func (v *ownReleases) forget(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for uid, known := range v.byUID {
		if age := now.Sub(known.at); age < 0 || age >= nodeExpectedFor { // clocks are set back, too
			delete(v.byUID, uid)
		}
	}
}

// letGo reports whether a pod was let go lately, by itself or with its owner.
func (v *ownReleases) isRecent(pod types.UID, owner *metav1.OwnerReference, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.byUID[pod]
	if !ok && owner != nil {
		known, ok = v.byUID[owner.UID]
	}
	return ok && now.Sub(known.at) < nodeExpectedFor
}

// missing returns how many pods of a Job are still to come, beside those that are
// there, and when the Job was let go.
func (v *ownReleases) missingPods(job *record, there int, now time.Time) (at time.Time, missing int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.byUID[job.UID]
	if !known.hadRoom || now.Sub(known.at) >= podsExpectedFor {
		return known.at, 0
	}
	return known.at, int(job.podsToRun) - there
}

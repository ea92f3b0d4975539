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
	settling = 10 * time.Second
	// placing is how long after its release a pod counts that has no node yet: an
	// autoscaler may be making one. After that, it takes no power that anybody waits
	// for.
	placing = 10 * time.Minute
)

// running is what a policy has released and still runs: what occupies room below
// the ceilings. It is read from the cache anew for every pass, so that nothing
// that was missed can make it wrong for good.
type running struct {
	at      map[string][]plan.Run // by location
	settles []time.Time           // when pods no longer count that may be to come
}

// pods counts the pods at a location.
func (r running) pods(location string) int {
	pods := 0
	for _, run := range r.at[location] {
		pods += run.Pods
	}
	return pods
}

// freed is something that was released, and where to, although the cache shows
// it as held.
type freed struct {
	*record
	to string
}

// running lists what a policy has released and still runs. A pod runs if it has a
// node, whatever it says of itself. One without a node counts as well for a while,
// if vouched knows that the loop let it or its Job go: anybody can make a pod that
// fits nowhere and says that it was released. Leaving are those that were released
// although the cache shows them as held.
func (r *Records) running(rules *policy.Policy, leaving []freed, vouched *vouchers, now time.Time) (running, error) {
	all := running{at: map[string][]plan.Run{}}
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
		to[o.UID] = o.to
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
		if pod.scheduled || vouched.letGo(pod.UID, owner, now) {
			all.add(rules, pod, where(pod), startedAt(pod, now), 1)
		}
	}
	for _, job := range jobs {
		if at, missing := vouched.missing(job, seen[job.UID], now); missing > 0 {
			all.add(rules, job, where(job), at, missing)
			all.settles = append(all.settles, at.Add(settling))
		}
	}
	return all, nil
}

// add counts pods where they were released to, though the scheduler may have put
// them elsewhere.
func (r running) add(rules *policy.Policy, o *record, location string, started time.Time, pods int) {
	until := started.Add(rules.TaskOf(o).Duration)
	r.at[location] = append(r.at[location], plan.Run{Until: until, Pods: pods})
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
type vouchers struct {
	mu sync.Mutex
	of map[types.UID]voucher
}

// voucher is of one pod or Job.
type voucher struct {
	at time.Time
	// inRoom says that there was room for it: what goes at its latest start goes
	// regardless, and takes room from nobody before its pods are there.
	inRoom bool
}

// add remembers a release.
func (v *vouchers) add(uid types.UID, at time.Time, inRoom bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = map[types.UID]voucher{}
	}
	v.of[uid] = voucher{at, inRoom}
}

// forget forgets what was let go too long ago to matter.
func (v *vouchers) forget(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for uid, known := range v.of {
		if age := now.Sub(known.at); age < 0 || age >= placing { // clocks are set back, too
			delete(v.of, uid)
		}
	}
}

// letGo reports whether a pod was let go lately, by itself or with its owner.
func (v *vouchers) letGo(pod types.UID, owner *metav1.OwnerReference, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.of[pod]
	if !ok && owner != nil {
		known, ok = v.of[owner.UID]
	}
	return ok && now.Sub(known.at) < placing
}

// missing returns how many pods of a Job are still to come, beside those that are
// there, and when the Job was let go.
func (v *vouchers) missing(job *record, there int, now time.Time) (at time.Time, missing int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.of[job.UID]
	if !known.inRoom || now.Sub(known.at) >= settling {
		return known.at, 0
	}
	return known.at, int(job.pods) - there
}

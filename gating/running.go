package gating

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/plan"
)

// settling is how long after the release of a Job its pods may still be to
// come: until then it counts as large as it is going to be, though some of them
// may be over already.
const settling = 10 * time.Second

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
	*metav1.PartialObjectMetadata
	to string
}

// running lists what a policy has released and still runs. Leaving are those
// that were released although the cache shows them as held.
func (r *Records) running(policy *Policy, leaving []freed, now time.Time) (running, error) {
	all := running{at: map[string][]plan.Run{}}
	pods, err := r.pods.list(runningIndex, policy.Name)
	if err != nil {
		return all, err
	}
	jobs, err := r.jobs.list(runningIndex, policy.Name)
	if err != nil {
		return all, err
	}
	to := make(map[types.UID]string, len(leaving))
	for _, o := range leaving {
		to[o.UID] = o.to
		if o.Kind == jobKind().Kind {
			jobs = append(jobs, o.PartialObjectMetadata)
		} else {
			pods = append(pods, o.PartialObjectMetadata)
		}
	}
	where := func(o *metav1.PartialObjectMetadata) string { return cmp.Or(to[o.UID], policy.placed(o.Annotations)) }
	seen := map[types.UID]int{}
	for _, pod := range pods {
		if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
			seen[owner.UID]++
		}
		all.add(policy, pod, where(pod), startedAt(pod, now), 1)
	}
	for _, job := range jobs {
		at := startedAt(job, now)
		if missing := PodsNoted(job) - seen[job.UID]; missing > 0 && now.Sub(at) < settling {
			all.add(policy, job, where(job), at, missing)
			all.settles = append(all.settles, at.Add(settling))
		}
	}
	return all, nil
}

// add counts pods where they were released to, though the scheduler may have put
// them elsewhere.
func (r running) add(policy *Policy, o *metav1.PartialObjectMetadata, location string, started time.Time, pods int) {
	until := started.Add(TaskOf(policy, o).Duration)
	r.at[location] = append(r.at[location], plan.Run{Until: until, Pods: pods})
}

// startedAt returns when something was released: if its record does not tell,
// when it was created, and if it is still shown as held, now.
func startedAt(o *metav1.PartialObjectMetadata, now time.Time) time.Time {
	if o.Labels[State] == StateHeld {
		return now
	}
	if at, err := time.Parse(time.RFC3339, o.Annotations[Started]); err == nil {
		return at
	}
	return o.CreationTimestamp.Time
}

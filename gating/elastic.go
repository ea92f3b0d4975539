package gating

import (
	"fmt"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// elasticIndex finds the Jobs that lend their width, or have lent it, by their policy.
const elasticIndex = "gridlatch.elastic"

// elasticPolicy returns the policy of a Job that lends its width, or has lent it; none of other objects.
func elasticPolicy(r *record) []string { return policyNames(r, isElastic(r)) }

func isElastic(r *record) bool {
	if r.Kind != hold.JobKind().Kind {
		return false
	}
	for _, key := range []string{v1alpha1.ParallelismAnnotation, v1alpha1.OriginalParallelismAnnotation, v1alpha1.ParallelismReleasedAnnotation} {
		if _, ok := r.Annotations[key]; ok {
			return true
		}
	}
	return false
}

// Elastic returns the names of the Jobs of a policy that lend their width, or have lent it.
func (l *Loop) Elastic(policy string) (jobs []types.NamespacedName) {
	records, _ := l.Records.jobs.list(elasticIndex, policy) // the index exists
	for _, job := range records {
		jobs = append(jobs, nameOf(job))
	}
	return jobs
}

// WatchElastic calls wake for each Job that lends its width, or has lent it, when the Job has come, has
// gone, has ended, or was changed otherwise than in its status.
func (l *Loop) WatchElastic(wake func(types.NamespacedName)) error {
	if l.Records.jobs.informer == nil {
		return nil // a test has filled the cache
	}
	about := func(object any) {
		if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		if job, ok := object.(*record); ok && isElastic(job) {
			wake(nameOf(job))
		}
	}
	_, err := l.Records.jobs.informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: about,
		UpdateFunc: func(before, after any) {
			if hasNewWish(before, after) {
				about(before)
				about(after)
			}
		},
		DeleteFunc: about,
	})
	if err != nil {
		return fmt.Errorf("follow the Jobs that lend their width: %w", err)
	}
	return nil
}

// hasNewWish reports whether a Job has changed in a way that the width can depend on at once. How much
// of its work is done changes often, and is looked at from time to time.
func hasNewWish(before, after any) bool {
	old, isOld := before.(*record)
	job, isNew := after.(*record)
	return !isOld || !isNew || old.UID != job.UID || old.Generation != job.Generation || (old.podsToRun == 0) != (job.podsToRun == 0) ||
		!maps.Equal(old.Labels, job.Labels) || !maps.Equal(old.Annotations, job.Annotations)
}

func nameOf(r *record) types.NamespacedName {
	return types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
}

// Beside returns what a policy has released and what still runs at a location, but for the pods of one
// Job. expected are the widths that other Jobs are about to have, by their UIDs.
func (l *Loop) Beside(rules *policy.Policy, location string, job types.UID, expected map[types.UID]int) ([]plan.Run, error) {
	now := l.Clock.Now()
	pods, owners, err := l.Records.releasedBy(rules.Name, nil)
	if err != nil {
		return nil, err
	}
	var runs []plan.Run
	add := func(o *record, since time.Time, pods int) {
		if pods > 0 && rules.LocationOf(o.Annotations) == location {
			runs = append(runs, plan.Run{Until: since.Add(rules.TaskOf(o).Duration), Pods: pods})
		}
	}
	existing := map[types.UID]int{}
	for _, pod := range pods {
		owner := metav1.GetControllerOfNoCopy(pod)
		if owner != nil {
			existing[owner.UID]++
		}
		if isOther := owner == nil || owner.UID != job; isOther && l.takesRoom(pod, owner, now) {
			add(pod, startedAt(pod, now), 1)
		}
	}
	for _, owner := range owners {
		if owner.UID != job {
			at, missing := l.expectedPods(owner, existing[owner.UID], expected[owner.UID], now)
			add(owner, at, missing)
		}
	}
	return runs, nil
}

// takesRoom reports whether a released pod takes room: it has a node, or is about to get one.
func (l *Loop) takesRoom(pod *record, owner *metav1.OwnerReference, now time.Time) bool {
	return pod.hasNode || l.ownReleases.isRecent(pod.UID, owner, now)
}

// expectedPods returns how many pods of an owner are expected beside those that exist, and since when
// they count. width is the width that an elastic Job is about to have.
func (l *Loop) expectedPods(owner *record, existing, width int, now time.Time) (since time.Time, missing int) {
	since, _, missing = l.ownReleases.missingPods(owner, existing, now)
	if isElastic(owner) && width-existing > missing {
		return now, width - existing
	}
	return since, missing
}

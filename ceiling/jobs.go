package ceiling

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	// jobsInterval is how often the Jobs that a change waits for are counted.
	jobsInterval = 10 * time.Second
	// killsJobsNote says why a ScaledJob is left alone for now.
	killsJobsNote = "KEDA would delete the running Jobs: the change waits until none runs. With spec.rollout.strategy: gradual, it need not wait"
)

// runningJobs counts the Jobs of a ScaledJob that KEDA would delete.
func runningJobs(ctx context.Context, reader client.Reader, t *target) (int, error) {
	var jobs batchv1.JobList
	if err := reader.List(ctx, &jobs, client.InNamespace(t.Namespace), client.MatchingLabels{scaledJobLabel: t.Name}); err != nil {
		return 0, fmt.Errorf("list the Jobs of %s: %w", t.ref(), err)
	}
	running := 0
	for i := range jobs.Items {
		hasEnded := slices.ContainsFunc(jobs.Items[i].Status.Conditions, func(c batchv1.JobCondition) bool {
			return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
		})
		if !hasEnded {
			running++
		}
	}
	return running, nil
}

// awaitJobs says on a ScaledJob what its change waits for. An annotation is no change of the spec,
// and harms no Job.
func (c *Controller) awaitJobs(ctx context.Context, t *target, o *outcome, now time.Time) error {
	o.again = now.Add(jobsInterval)
	o.waits = fmt.Sprintf("maxReplicaCount stays %s: %s", printReplicas(replicas(t.Value(maxReplicaCount))), killsJobsNote)
	c.warn(t, EventWaits, o.waits)
	say := t.Change()
	say.Annotate(v1alpha1.ReasonAnnotation, o.waits)
	if say.IsEmpty() {
		return nil
	}
	_, err := c.writer().Write(ctx, say) // a target that has changed is looked at again
	return err
}

package gating

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// learnInterval is how often finished Jobs are looked at. Work that repeats seldom repeats more
	// often than this.
	learnInterval = 10 * time.Minute
	// learnRetryPause is how soon they are looked at again after a failure.
	learnRetryPause = 10 * time.Second
	// maxRuns bounds how many runs of the same work count: the newest ones.
	maxRuns = 20
	// maxRunTime bounds what counts as a run.
	maxRunTime = 31 * 24 * time.Hour
)

// Runs knows how long earlier runs of the same work took: Jobs of the same CronJob, or of the same
// namespace and label RunsOf, that have ended well and still exist (see successfulJobsHistoryLimit
// of a CronJob). It knows nothing before it has read them. Reader is required.
type Runs struct {
	// Reader reads from the API server, not from a cache.
	Reader client.Reader

	byWork atomic.Pointer[map[workKey]policy.RunTimes]
}

// workKey names the work that Jobs are runs of.
type workKey struct {
	namespace, label string
	// cronJob owns the runs whose label is its name; empty for others. So a Job that only has the
	// name of a CronJob as its label is no run of the CronJob.
	cronJob types.UID
}

// workKeyOf returns the work that a Job of a namespace is a run of; false if the Job does not say.
func workKeyOf(namespace string, job metav1.Object) (workKey, bool) {
	w := workKey{namespace: namespace, label: job.GetLabels()[v1alpha1.RunsOfLabel]}
	if cronJob := policy.OwningCronJob(job); cronJob != nil && cronJob.Name == w.label {
		w.cronJob = cronJob.UID
	}
	return w, w.label != ""
}

// Times returns what is known of the earlier runs of the work of a Job. It may be called at any
// time.
func (r *Runs) Times(namespace string, job metav1.Object) policy.RunTimes {
	known := r.byWork.Load()
	w, ok := workKeyOf(namespace, job)
	if known == nil || !ok {
		return policy.RunTimes{}
	}
	return (*known)[w]
}

// Start learns at once and every ten minutes, until the context ends; for a manager.
func (r *Runs) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		// the only error is that the context has ended
		_ = wait.PollUntilContextCancel(ctx, learnRetryPause, true, func(ctx context.Context) (bool, error) {
			err := r.Learn(ctx)
			if err != nil && ctx.Err() == nil {
				log.FromContext(ctx).Error(err, "cannot read how long earlier runs took, will try again")
			}
			return err == nil, nil
		})
	}, learnInterval)
	return nil
}

// NeedLeaderElection makes a manager run this in every replica: each answers for the webhook.
func (r *Runs) NeedLeaderElection() bool { return false }

// Learn reads the Jobs there are. If that fails, what was known stays.
func (r *Runs) Learn(ctx context.Context) error {
	runs := map[workKey][]run{}
	err := hold.EachJob(ctx, r.Reader, "", v1alpha1.RunsOfLabel, selection.Exists, func(job *batchv1.Job) {
		if run, ok := runOf(job); ok {
			w, _ := workKeyOf(job.Namespace, job) // it has the label
			runs[w] = insertRun(runs[w], run)
		}
	})
	if err != nil {
		return err
	}
	known := make(map[workKey]policy.RunTimes, len(runs))
	for w, runs := range runs {
		known[w] = runTimes(runs)
	}
	r.byWork.Store(&known)
	return nil
}

// run is a run that has ended.
type run struct {
	ended time.Time
	took  time.Duration
}

// runOf returns the run that a Job was; false if the Job has not ended well, or if it is not known
// how long it took.
func runOf(job *batchv1.Job) (run, bool) {
	start, end := job.Status.StartTime, job.Status.CompletionTime
	startedByOthers := job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld || job.Annotations[v1alpha1.OutcomeAnnotation] == v1alpha1.OutcomeTaken
	if start == nil || end == nil || !hasCompleted(job) || startedByOthers {
		return run{}, false
	}
	began := start.Time // the creation, if the pods were gated
	if started, err := time.Parse(time.RFC3339, job.Annotations[v1alpha1.StartedAnnotation]); err == nil && started.After(began) {
		began = started
	}
	took := end.Sub(began) + policy.ReadRuns(job.Annotations).Ran
	return run{ended: end.Time, took: took}, took > 0 && took <= maxRunTime
}

func hasCompleted(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
	})
}

// insertRun adds a run to the newest runs, which come first.
func insertRun(runs []run, r run) []run {
	at, _ := slices.BinarySearchFunc(runs, r, func(a, b run) int { return b.ended.Compare(a.ended) })
	runs = slices.Insert(runs, at, r)
	return runs[:min(len(runs), maxRuns)]
}

// runTimes sums up at least one run.
func runTimes(runs []run) policy.RunTimes {
	took := make([]time.Duration, len(runs))
	for i, r := range runs {
		took[i] = r.took
	}
	slices.Sort(took)
	n := len(took)
	median, unit := (took[(n-1)/2]+took[n/2])/2, time.Second
	if median > 10*time.Minute {
		unit = time.Minute
	}
	return policy.RunTimes{Median: (median + unit - 1).Truncate(unit), Slowest: took[n-1], Count: n}
}

package gating

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// shelf is an API server that has Jobs, and lists them page by page.
type shelf struct {
	mu    sync.Mutex
	jobs  []batchv1.Job
	err   error
	lists int
}

func (s *shelf) set(err error, jobs ...batchv1.Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs, s.err = jobs, err
}

func (s *shelf) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("nobody is to ask for one")
}

func (s *shelf) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	options := (&client.ListOptions{}).ApplyOptions(opts)
	page := list.(*batchv1.JobList)
	from, _ := strconv.Atoi(options.Continue) // empty is zero
	for i := from; i < len(s.jobs); i++ {
		if int64(i-from) == options.Limit {
			page.Continue = strconv.Itoa(i)
			break
		}
		if options.LabelSelector.Matches(labels.Set(s.jobs[i].Labels)) {
			page.Items = append(page.Items, s.jobs[i])
		}
	}
	return s.err
}

// finished is a Job of the work "etl" that was created at t0 and ran for so
// long, with changes.
func finishedJob(took time.Duration, changes ...func(*batchv1.Job)) batchv1.Job {
	start, end := metav1.NewTime(t0), metav1.NewTime(t0.Add(took))
	job := batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "data", Labels: map[string]string{v1alpha1.RunsOfLabel: "etl"}, Annotations: map[string]string{}},
		Status: batchv1.JobStatus{
			StartTime: &start, CompletionTime: &end,
			Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}},
		},
	}
	for _, change := range changes {
		change(&job)
	}
	return job
}

// etl is a run of the work "etl" that begins now.
func etl() *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.RunsOfLabel: "etl"}}}
}

func TestRunsOfACronJobAreItsOwn(t *testing.T) {
	const m = time.Minute
	of := func(cronJob, uid string) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			j.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "CronJob", Name: cronJob, UID: types.UID(uid)}}
		}
	}
	runs := &Runs{Reader: &shelf{jobs: []batchv1.Job{
		finishedJob(20*m, of("etl", "1")), finishedJob(22*m, of("etl", "1")), // its own
		finishedJob(m), finishedJob(m), finishedJob(m), finishedJob(m), // borrow its name
		finishedJob(2*m, of("etl", "2")),                                       // of one that was deleted
		finishedJob(3*m, of("other", "3")), finishedJob(3*m, of("other", "3")), // says it is the same work
	}}}
	if err := runs.Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := finishedJob(0, of("etl", "1"))
	if diff := cmp.Diff(policy.RunTimes{Median: 21 * m, Slowest: 22 * m, Count: 2}, runs.Times("data", &next)); diff != "" {
		t.Errorf("of the CronJob: %s", diff)
	}
	if diff := cmp.Diff(policy.RunTimes{Median: m, Slowest: 3 * m, Count: 6}, runs.Times("data", etl())); diff != "" {
		t.Errorf("of the label alone: %s", diff)
	}
}

func TestRunsLearnFromJobsThatEndedWell(t *testing.T) {
	const m = time.Minute
	started := func(at time.Time) func(*batchv1.Job) {
		return func(j *batchv1.Job) { j.Annotations[v1alpha1.StartedAnnotation] = at.Format(time.RFC3339) }
	}
	tests := map[string]struct {
		jobs []batchv1.Job
		want policy.RunTimes
	}{
		"none":                     {nil, policy.RunTimes{}},
		"one":                      {[]batchv1.Job{finishedJob(5 * m)}, policy.RunTimes{Median: 5 * m, Slowest: 5 * m, Count: 1}},
		"an odd number":            {[]batchv1.Job{finishedJob(9 * m), finishedJob(3 * m), finishedJob(4 * m)}, policy.RunTimes{Median: 4 * m, Slowest: 9 * m, Count: 3}},
		"an even number":           {[]batchv1.Job{finishedJob(5 * m), finishedJob(8 * m)}, policy.RunTimes{Median: 6*m + 30*time.Second, Slowest: 8 * m, Count: 2}},
		"long ones, by the minute": {[]batchv1.Job{finishedJob(46*m + time.Second)}, policy.RunTimes{Median: 47 * m, Slowest: 46*m + time.Second, Count: 1}},
		"short ones, by the second": {[]batchv1.Job{finishedJob(3 * time.Second), finishedJob(4 * time.Second)},
			policy.RunTimes{Median: 4 * time.Second, Slowest: 4 * time.Second, Count: 2}},
		"held before, from its release": {[]batchv1.Job{finishedJob(6*time.Hour, started(t0.Add(5*time.Hour)))}, policy.RunTimes{Median: time.Hour, Slowest: time.Hour, Count: 1}},
		"resumed after its release, as by Kueue": {[]batchv1.Job{finishedJob(2*time.Hour, started(t0.Add(-time.Hour)))},
			policy.RunTimes{Median: 2 * time.Hour, Slowest: 2 * time.Hour, Count: 1}},
		"a release that cannot be read": {[]batchv1.Job{finishedJob(2*m, func(j *batchv1.Job) { j.Annotations[v1alpha1.StartedAnnotation] = "early" })}, policy.RunTimes{Median: 2 * m, Slowest: 2 * m, Count: 1}},
		"not those that failed":         {[]batchv1.Job{finishedJob(2*m, func(j *batchv1.Job) { j.Status.Conditions[0].Type = batchv1.JobFailed })}, policy.RunTimes{}},
		"not those that run": {[]batchv1.Job{
			finishedJob(2*m, func(j *batchv1.Job) { j.Status.Conditions, j.Status.CompletionTime = nil, nil }),
			finishedJob(2*m, func(j *batchv1.Job) { j.Status.Conditions[0].Status = corev1.ConditionFalse }),
			finishedJob(2*m, func(j *batchv1.Job) { j.Status.StartTime = nil }),
		}, policy.RunTimes{}},
		"not those that others let go": {[]batchv1.Job{
			finishedJob(2*m, func(j *batchv1.Job) { j.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld }),
			finishedJob(2*m, func(j *batchv1.Job) { j.Annotations[v1alpha1.OutcomeAnnotation] = v1alpha1.OutcomeTaken }),
		}, policy.RunTimes{}},
		"not what cannot be": {[]batchv1.Job{
			finishedJob(0), finishedJob(-m), finishedJob(32 * 24 * time.Hour), finishedJob(m, started(t0.Add(time.Hour))),
		}, policy.RunTimes{}},
		"not other work": {[]batchv1.Job{
			finishedJob(m, func(j *batchv1.Job) { j.Namespace = "other" }), finishedJob(m, func(j *batchv1.Job) { j.Labels[v1alpha1.RunsOfLabel] = "other" }),
			finishedJob(m, func(j *batchv1.Job) { delete(j.Labels, v1alpha1.RunsOfLabel) }),
		}, policy.RunTimes{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			runs := &Runs{Reader: &shelf{jobs: tt.jobs}}
			if err := runs.Learn(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, runs.Times("data", etl())); diff != "" {
				t.Error(diff)
			}
			if got := runs.Times("data", &batchv1.Job{}); got != (policy.RunTimes{}) {
				t.Errorf("without a label: %v", got)
			}
		})
	}
}

func TestTheNewestRunsCount(t *testing.T) {
	api := &shelf{}
	for i := range 1203 { // more than two pages; each a second longer than the one before
		end := metav1.NewTime(t0.AddDate(0, 0, i))
		start := metav1.NewTime(end.Add(-time.Duration(i+1) * time.Second))
		job := finishedJob(0, func(j *batchv1.Job) { j.Status.StartTime, j.Status.CompletionTime = &start, &end })
		api.jobs = append(api.jobs, job)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(api.jobs), func(i, j int) { api.jobs[i], api.jobs[j] = api.jobs[j], api.jobs[i] })
	runs := &Runs{Reader: api}
	if err := runs.Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := policy.RunTimes{Median: 20 * time.Minute, Slowest: 1203 * time.Second, Count: 20} // of 1184 to 1203 seconds
	if diff := cmp.Diff(want, runs.Times("data", etl())); diff != "" || api.lists != 3 {
		t.Errorf("%d pages: %s", api.lists, diff)
	}
}

func TestRunsKeepWhatTheyKnowWhileTheAPIServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &shelf{err: errors.New("away")}
		runs := &Runs{Reader: api}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- runs.Start(ctx) }()
		count := func(after time.Duration) int {
			time.Sleep(after)
			synctest.Wait()
			return runs.Times("data", etl()).Count
		}
		got := []int{count(time.Second)}
		api.set(nil, finishedJob(time.Minute))
		got = append(got, count(10*time.Second))
		api.set(nil, finishedJob(time.Minute), finishedJob(time.Minute))
		got = append(got, count(9*time.Minute), count(time.Minute))
		api.set(errors.New("away again"))
		got = append(got, count(time.Hour))
		api.set(nil)
		got = append(got, count(11*time.Minute))
		if diff := cmp.Diff([]int{0, 1, 1, 2, 2, 0}, got); diff != "" {
			t.Error(diff)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

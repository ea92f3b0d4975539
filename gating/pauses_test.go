package gating

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	fakeclient "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// runningJob is a Job of 4 hours that has run for one, may be paused, and has a day for its work.
func runningJob() *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "j", UID: "u", CreationTimestamp: metav1.NewTime(t0.Add(-time.Hour)), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
			Annotations: map[string]string{
				v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.InterruptibleAnnotation: "true", v1alpha1.DurationAnnotation: "4h",
				v1alpha1.PolicyAnnotation: v1alpha1.DefaultPolicy, v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(20 * time.Hour)),
			},
		},
		Spec: batchv1.JobSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"job-name": "j"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}}},
		},
		Status: batchv1.JobStatus{Active: 1, Ready: ptr.To(int32(1))},
	}
}

// podOfRunning is the pod of a runningJob, which has been running since began.
func podOfRunning(j *batchv1.Job, created, began time.Time) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "n", Name: "p", UID: "p", CreationTimestamp: metav1.NewTime(created), Labels: map[string]string{"job-name": "j"},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(j, hold.JobKind())},
	}}
	if !began.IsZero() {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(began)}}}}
	}
	return pod
}

// pausing is a loop that sees one Job, at t0, as the cache has it, and an API server with objects.
func pausing(t *testing.T, cached *batchv1.Job, refuse error, objects ...client.Object) (*Loop, *int) {
	t.Helper()
	records, err := StaticRecords(cached)
	if err != nil {
		t.Fatal(err)
	}
	writes := 0
	c := fakeclient.NewClientBuilder().WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			if writes++; refuse != nil {
				return refuse
			}
			return c.Patch(ctx, o, patch, options...)
		},
	}).Build()
	return &Loop{
		Client: c, APIReader: c, Records: records, Policies: policy.Policies{Reader: c}, Clock: clocktesting.NewFakePassiveClock(t0),
		Events: NewAnnouncer(nil), Metrics: NewMetrics(prometheus.NewRegistry()), Workers: 2,
	}, &writes
}

// dirtyNow is a forecast with a clean night in five hours.
func dirtyNow(t *testing.T, rules *policy.Policy) *forecast.Snapshot {
	t.Helper()
	return grid(t, rules, map[string][]float64{"here": {400, 400, 400, 400, 400, 100, 100, 100, 100, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400}})
}

// passOf runs what a pass does with pausable work.
func passOf(t *testing.T, l *Loop, rules *policy.Policy, snapshot *forecast.Snapshot) *pass {
	t.Helper()
	p := &pass{policy: rules, snapshot: snapshot, now: t0}
	if err := l.findPausable(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	p.decide()
	l.pause(t.Context(), p)
	return p
}

func TestAJobIsPausedOnlyIfItRunsAndMayBe(t *testing.T) {
	hourAgo := t0.Add(-time.Hour)
	audited := v1alpha1.Default()
	audited.Spec.Mode = v1alpha1.ModeAudit
	for name, tt := range map[string]struct {
		change   func(*batchv1.Job) // as the cache and the API server have it
		since    func(*batchv1.Job) // as only the API server has it
		began    time.Time
		object   *v1alpha1.CarbonPolicy
		unable   string
		clean    bool
		want     bool
		ran      string
		finishBy time.Duration
	}{
		"it runs":                             {began: hourAgo, want: true, ran: "1h", finishBy: 24 * time.Hour},
		"it has a node for half an hour only": {began: t0.Add(-31 * time.Minute), want: true, ran: "31m", finishBy: 24 * time.Hour},
		"for too short a time":                {began: t0.Add(-29 * time.Minute)},
		"it waits for a node":                 {},
		"no pod is ready":                     {began: hourAgo, change: func(j *batchv1.Job) { j.Status.Ready = ptr.To(int32(0)) }},
		"now is as clean":                     {began: hourAgo, clean: true},
		"it is nearly done":                   {began: hourAgo, change: func(j *batchv1.Job) { j.Annotations[v1alpha1.RemainingAnnotation] = "30m" }},
		"it has no time":                      {began: hourAgo, change: func(j *batchv1.Job) { j.Annotations[v1alpha1.DeadlineAnnotation] = "5h" }},
		"it does not want to wait any more":   {began: hourAgo, change: func(j *batchv1.Job) { j.Annotations[v1alpha1.DelayTolerantAnnotation] = "false" }},
		"nor a moment ago":                    {began: hourAgo, since: func(j *batchv1.Job) { j.Annotations[v1alpha1.DelayTolerantAnnotation] = "false" }},
		"or to be paused":                     {began: hourAgo, since: func(j *batchv1.Job) { delete(j.Annotations, v1alpha1.InterruptibleAnnotation) }},
		"somebody else has started it":        {began: hourAgo, change: func(j *batchv1.Job) { j.Annotations[v1alpha1.OutcomeAnnotation] = v1alpha1.OutcomeTaken }},
		"Kueue decides":                       {began: hourAgo, change: func(j *batchv1.Job) { j.Labels[hold.KueueQueueLabel] = "team" }},
		"a JobSet decides": {began: hourAgo, change: func(j *batchv1.Job) {
			j.OwnerReferences = []metav1.OwnerReference{{APIVersion: "jobset.x-k8s.io/v1alpha2", Kind: "JobSet", Name: "s", UID: "s", Controller: ptr.To(true)}}
		}},
		"its pods would be gated":         {began: hourAgo, change: func(j *batchv1.Job) { j.Spec.Template.Labels = nil }},
		"it is being deleted":             {began: hourAgo, change: func(j *batchv1.Job) { j.DeletionTimestamp, j.Finalizers = ptr.To(metav1.NewTime(t0)), []string{"x/y"} }},
		"the policy audits":               {began: hourAgo, object: audited},
		"releases fail":                   {began: hourAgo, unable: "the API server refuses"},
		"it was paused twice already":     {began: hourAgo, change: func(j *batchv1.Job) { j.Annotations[v1alpha1.PausesAnnotation] = "2" }},
		"its user has just suspended it":  {began: hourAgo, since: func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) }},
		"it has just asked for less time": {began: hourAgo, since: func(j *batchv1.Job) { j.Annotations[v1alpha1.DeadlineAnnotation] = "7h" }},
	} {
		t.Run(name, func(t *testing.T) {
			j := runningJob()
			if tt.change != nil {
				tt.change(j)
			}
			live := j.DeepCopy()
			if tt.since != nil {
				tt.since(live)
			}
			l, writes := pausing(t, j, nil, live, podOfRunning(j, hourAgo, tt.began))
			if tt.unable != "" {
				l.WhyUnable = func(string, string) string { return tt.unable }
			}
			rules, snapshot := builtin(), (*forecast.Snapshot)(nil)
			if tt.object != nil {
				rules = policy.New(t.Context(), tt.object, "gridlatch-system", nil, t0)
			}
			if snapshot = dirtyNow(t, rules); tt.clean {
				snapshot = grid(t, rules, map[string][]float64{"here": {100, 100, 100, 100, 100, 100, 100, 100}})
			}
			passOf(t, l, rules, snapshot)
			passOf(t, l, rules, snapshot) // the cache has not seen it yet
			if err := l.APIReader.Get(t.Context(), client.ObjectKeyFromObject(j), live); err != nil {
				t.Fatal(err)
			}
			isPaused := live.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld
			if isPaused != tt.want || *writes != int(oneIf(tt.want)) {
				t.Fatalf("paused: %v, by %d writes: %v", isPaused, *writes, live.Annotations)
			}
			if !tt.want {
				return
			}
			runs := policy.ReadRuns(live.Annotations)
			planned, err := time.Parse(time.RFC3339, live.Annotations[v1alpha1.PlannedStartAnnotation])
			if err != nil || planned.Before(t0.Add(5*time.Hour)) || planned.After(t0.Add(5*time.Hour+10*time.Minute)) {
				t.Errorf("to be resumed at %s, want the begin of the clean time: %v", planned, err)
			}
			if !*live.Spec.Suspend || live.Annotations[v1alpha1.RanAnnotation] != tt.ran || runs.Pauses != 1 || !runs.Paused.Equal(t0) || !runs.FinishBy.Equal(t0.Add(tt.finishBy)) ||
				live.Annotations[v1alpha1.HeldByAnnotation] != v1alpha1.HoldBySuspend {
				t.Errorf("%v", live.Annotations)
			}
			if got := testutil.ToFloat64(l.Metrics.pauses.WithLabelValues(v1alpha1.DefaultPolicy)); got != 1 {
				t.Errorf("%v pauses are counted", got)
			}
		})
	}
}

func TestAPauseThatIsRefusedIsNotTriedInEachPass(t *testing.T) {
	j := runningJob()
	refused := apierrors.NewForbidden(batchv1.Resource("jobs"), "j", errors.New("not here"))
	l, writes := pausing(t, j, refused, j, podOfRunning(j, t0.Add(-time.Hour), t0.Add(-time.Hour)))
	for range 3 {
		passOf(t, l, builtin(), dirtyNow(t, builtin()))
	}
	if *writes != 1 {
		t.Errorf("%d writes, want one", *writes)
	}
	record := stripped(t, newRecordMaker(), j)
	if l.pauses.isBlocked(record, t0.Add(refusedPausePatience)) || !l.pauses.isBlocked(record, t0.Add(refusedPausePatience-1)) {
		t.Error("want it to be tried again in ten minutes")
	}
}

// What is due for its start does not wait for thousands of pauses.
func TestManyJobsArePausedInSeveralPasses(t *testing.T) {
	var cached []runtime.Object
	var objects []client.Object
	for i := range maxPausesInPass + 10 {
		j := runningJob()
		j.Name, j.UID = fmt.Sprintf("j-%d", i), types.UID(fmt.Sprintf("u-%d", i))
		j.Spec.Selector.MatchLabels["job-name"] = j.Name
		pod := podOfRunning(j, t0.Add(-time.Hour), t0.Add(-time.Hour))
		pod.Name, pod.UID, pod.Labels["job-name"] = j.Name, j.UID, j.Name
		cached, objects = append(cached, j), append(objects, j.DeepCopy(), pod)
	}
	l, writes := pausing(t, runningJob(), nil, objects...)
	records, err := StaticRecords(cached...)
	if err != nil {
		t.Fatal(err)
	}
	l.Records, l.Workers = records, 1
	p := passOf(t, l, builtin(), dirtyNow(t, builtin()))
	if *writes != maxPausesInPass || l.untilNextPass(p) > time.Second {
		t.Errorf("%d writes, and the next pass is in %s", *writes, l.untilNextPass(p))
	}
	if p = passOf(t, l, builtin(), dirtyNow(t, builtin())); *writes != len(cached) || p.hasMoreToPause {
		t.Errorf("%d writes, want %d", *writes, len(cached))
	}
}

func TestAPauseWhoseNoteCannotBeReadCountsAsAWaitSinceTheCreation(t *testing.T) {
	for note, want := range map[string]float64{policy.FormatTime(t0.Add(-time.Minute)): 60, "soon": 3600, "0001-01-01T00:00:00Z": 3600} {
		j := runningJob()
		j.Labels[v1alpha1.StateLabel], j.Annotations[v1alpha1.PausedAnnotation] = v1alpha1.StateHeld, note
		l, _ := pausing(t, j, nil, j)
		registry := prometheus.NewRegistry()
		l.Metrics = NewMetrics(registry)
		l.countRelease(&pass{policy: builtin()}, &group{}, stripped(t, newRecordMaker(), j), 1)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := 0.0
		for _, family := range families {
			if family.GetName() == "gridlatch_hold_seconds" {
				for _, metric := range family.GetMetric() {
					got += metric.GetHistogram().GetSampleSum()
				}
			}
		}
		if got != want {
			t.Errorf("%q: waited for %v s, want %v", note, got, want)
		}
	}
}

func TestAClockThatIsSetBackBlocksNoPause(t *testing.T) {
	record := stripped(t, newRecordMaker(), runningJob())
	var tries pauseTries
	tries.block(record, t0.Add(365*24*time.Hour))
	if tries.isBlocked(record, t0) {
		t.Error("want no pause to wait for a year")
	}
	tries.forget(t0)
	if len(tries.until) > 0 {
		t.Error("want it to be forgotten")
	}
}

// The pod has succeeded, and the Job controller has not noted that yet. Such a Job would be held though it is done.
func TestAJobThatIsDoneIsNotPausedBeforeItsStatusSaysSo(t *testing.T) {
	hourAgo := t0.Add(-time.Hour)
	j, pod := runningJob(), podOfRunning(runningJob(), hourAgo, hourAgo)
	pod.Status.Phase = corev1.PodSucceeded
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: metav1.NewTime(hourAgo), FinishedAt: metav1.NewTime(t0)}}
	l, writes := pausing(t, j, nil, j, pod)
	passOf(t, l, builtin(), dirtyNow(t, builtin()))
	if *writes != 0 {
		t.Errorf("%d writes, want none", *writes)
	}
}

func TestWhatOthersHaveSuspendedIsTheirs(t *testing.T) {
	j := runningJob()
	j.Spec.Suspend = ptr.To(true)
	l, writes := pausing(t, j, nil, j)
	for range 2 {
		passOf(t, l, builtin(), dirtyNow(t, builtin()))
	}
	if err := l.APIReader.Get(t.Context(), client.ObjectKeyFromObject(j), j); err != nil {
		t.Fatal(err)
	}
	if *writes != 1 || j.Annotations[v1alpha1.OutcomeAnnotation] != v1alpha1.OutcomeTaken || !*j.Spec.Suspend || j.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased {
		t.Errorf("%d writes: %v", *writes, j.Annotations)
	}
}

// Below a ceiling of one pod, a Job that runs and is planned must not be in its own way, nor leave room
// for two.
func TestWorkThatRunsAndIsPlannedTakesItsRoomOnce(t *testing.T) {
	object := v1alpha1.Default()
	object.Spec.Buckets = []v1alpha1.Bucket{{Ceiling: 1}}
	rules := policy.New(t.Context(), object, "gridlatch-system", nil, t0)
	j := runningJob()
	l, writes := pausing(t, j, nil, j, podOfRunning(j, t0.Add(-time.Hour), t0.Add(-time.Hour)))
	pod := podOfRunning(j, t0.Add(-time.Hour), t0.Add(-time.Hour))
	pod.Labels[v1alpha1.StateLabel], pod.Spec.NodeName = v1alpha1.StateReleased, "node"
	if err := l.Records.pods.Add(stripped(t, newRecordMaker(), pod)); err != nil {
		t.Fatal(err)
	}
	p := &pass{policy: rules, snapshot: grid(t, rules, map[string][]float64{"here": {100, 100, 100, 100, 100, 100, 100, 100}}), now: t0}
	if err := l.findPausable(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.running, err = l.Records.running(rules, nil, p.pausableOwners(), &l.ownReleases, t0); err != nil {
		t.Fatal(err)
	}
	other := waiting("other", map[string]string{v1alpha1.DelayTolerantAnnotation: "true"})
	p.groups = []*group{other}
	setTasks(rules, p.groups)
	p.decide()
	l.pause(t.Context(), p)
	if len(p.pausable) != 1 || p.pausable[0].decision.Holds() || *writes != 0 {
		t.Errorf("the Job is in its own way: %+v", p.pausable[0].decision)
	}
	if !other.decision.Holds() {
		t.Errorf("two pods run below a ceiling of one: %+v", other.decision)
	}
	if all, err := l.Records.running(rules, nil, nil, &l.ownReleases, t0); err != nil || all.pods("here")+all.pods("") != 1 {
		t.Errorf("the pod does not count if its Job is not planned: %+v, %v", all, err)
	}
}

func TestPausedWorkIsResumedAtOnceIfItMayNotBePausedAnyMore(t *testing.T) {
	j := runningJob()
	j.Labels[v1alpha1.StateLabel], j.Spec.Suspend = v1alpha1.StateHeld, ptr.To(true)
	maps.Copy(j.Annotations, map[string]string{
		v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend, v1alpha1.PausedAnnotation: policy.FormatTime(t0), v1alpha1.RanAnnotation: "1h",
		v1alpha1.PausesAnnotation: "1", v1alpha1.FinishByAnnotation: policy.FormatTime(t0.Add(24 * time.Hour)),
	})
	for name, tt := range map[string]struct {
		change func(*batchv1.Job)
		due    bool
	}{
		"it may":                           {func(*batchv1.Job) {}, false},
		"it does not want to be paused":    {func(j *batchv1.Job) { j.Annotations[v1alpha1.InterruptibleAnnotation] = "false" }, true},
		"it does not want to wait":         {func(j *batchv1.Job) { j.Annotations[v1alpha1.DelayTolerantAnnotation] = "false" }, true},
		"it has no time":                   {func(j *batchv1.Job) { j.Annotations[v1alpha1.DeadlineAnnotation] = "4h" }, true},
		"so it says":                       {func(j *batchv1.Job) { j.Annotations[v1alpha1.RemainingAnnotation] = "40h" }, true},
		"its promise is of another's hand": {func(j *batchv1.Job) { j.Annotations[v1alpha1.FinishByAnnotation] = "never" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			changed := j.DeepCopy()
			tt.change(changed)
			rules := builtin()
			p := &pass{policy: rules, snapshot: dirtyNow(t, rules), now: t0, groups: []*group{{owner: stripped(t, newRecordMaker(), changed)}}}
			setTasks(rules, p.groups)
			p.decide()
			p.makeWithdrawnDue()
			if g := p.groups[0]; g.isDue() != tt.due {
				t.Errorf("due: %v: %s", g.isDue(), g.decision.Reason())
			}
		})
	}
}

func TestRunsThatWerePausedAreLearnedWithoutTheirPauses(t *testing.T) {
	j := runningJob()
	j.Labels[v1alpha1.RunsOfLabel] = "nightly"
	maps.Copy(j.Annotations, map[string]string{v1alpha1.RanAnnotation: "3h", v1alpha1.PausesAnnotation: "1", v1alpha1.StartedAnnotation: policy.FormatTime(t0)})
	j.Status.StartTime, j.Status.CompletionTime = ptr.To(metav1.NewTime(t0)), ptr.To(metav1.NewTime(t0.Add(time.Hour)))
	j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	if got, ok := runOf(j); !ok || got.took != 4*time.Hour {
		t.Errorf("it took %s (%v), want 4 hours", got.took, ok)
	}
}

// A pass with 2,000 interruptible Jobs, half of which run and half of which are paused, is planned in less
// than a tenth of a second.
func BenchmarkPausable(b *testing.B) {
	var cached []*record
	s := newRecordMaker()
	for i := range 2000 {
		j := runningJob()
		j.Name, j.UID = fmt.Sprintf("j-%d", i), types.UID(fmt.Sprintf("u-%d", i))
		j.Annotations[v1alpha1.DurationAnnotation] = fmt.Sprintf("%dm", 120+i%600)
		if i%2 == 0 {
			j.Labels[v1alpha1.StateLabel], j.Spec.Suspend = v1alpha1.StateHeld, ptr.To(true)
			maps.Copy(j.Annotations, map[string]string{
				v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend, v1alpha1.PausedAnnotation: policy.FormatTime(t0), v1alpha1.RanAnnotation: "1h",
				v1alpha1.PausesAnnotation: "1", v1alpha1.FinishByAnnotation: policy.FormatTime(t0.Add(24 * time.Hour)),
			})
		}
		cached = append(cached, stripped(b, s, j))
	}
	records := recordsOf(b, cached...)
	c := fakeclient.NewClientBuilder().Build()
	l := &Loop{Records: records, Policies: policy.Policies{Reader: c}, Clock: clocktesting.NewFakePassiveClock(t0)}
	rules := builtin()
	hours := make([]float64, 48)
	for i := range hours {
		hours[i] = 250 + 150*math.Sin(float64(i)/4)
	}
	snapshot := grid(b, rules, map[string][]float64{"here": hours})
	for b.Loop() {
		p := &pass{policy: rules, snapshot: snapshot, now: t0}
		var err error
		if p.groups, _, err = records.groups(rules.Name, notDone); err != nil {
			b.Fatal(err)
		}
		if err := l.findPausable(b.Context(), p); err != nil {
			b.Fatal(err)
		}
		setTasks(rules, p.groups)
		p.decide()
		if len(p.groups) != 1000 || len(p.pausable) != 1000 {
			b.Fatalf("%d are held, %d run", len(p.groups), len(p.pausable))
		}
	}
}

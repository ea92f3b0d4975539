package webhook

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// scheduledBy returns the Job that a CronJob makes at t0 from its template.
func scheduledBy(c *batchv1.CronJob) *batchv1.Job {
	meta := c.Spec.JobTemplate.ObjectMeta.DeepCopy()
	meta.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(c, batchv1.SchemeGroupVersion.WithKind("CronJob"))}
	return &batchv1.Job{ObjectMeta: *meta, Spec: c.Spec.JobTemplate.Spec}
}

// cronJobs is dirtyNow, with a cache that has a CronJob.
func cronJobs(t *testing.T, c *batchv1.CronJob) *Webhook {
	t.Helper()
	w := dirtyNow(t)
	w.Reader = fake.NewClientBuilder().WithObjects(c).Build()
	return w
}

// everyTwoHours is a CronJob whose next run comes two hours after t0.
func everyTwoHours(policy batchv1.ConcurrencyPolicy, annotations map[string]string) *batchv1.CronJob {
	c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "c", UID: "u"}, Spec: batchv1.CronJobSpec{Schedule: "0 */2 * * *", ConcurrencyPolicy: policy}}
	c.Spec.JobTemplate.Annotations = annotations
	return c
}

func TestARunIsDoneBeforeTheNextRunOfItsCronJob(t *testing.T) {
	short := map[string]string{v1alpha1.DurationAnnotation: "20m"}
	long := map[string]string{v1alpha1.DurationAnnotation: "2h"}
	deadline := map[string]string{v1alpha1.DurationAnnotation: "20m", v1alpha1.DeadlineAnnotation: "8h"}
	const before, free, byDeadline = "2026-11-21T13:39:00Z", "2026-11-22T12:00:00Z", "2026-11-21T19:39:00Z"
	const next = "2026-11-21T14:00:00Z"
	for name, tt := range map[string]struct {
		policy          batchv1.ConcurrencyPolicy
		ask             map[string]string
		deadlineSeconds *int64
		latest, next    string
		reason          string // in it
		warning         string // in it
	}{
		"with Replace":                  {batchv1.ReplaceConcurrent, short, nil, before, next, "; latest start Nov 21 13:39 (next run 14:00)", ""},
		"with Replace, and a deadline":  {batchv1.ReplaceConcurrent, deadline, nil, before, next, "(next run 14:00)", ""},
		"with Forbid":                   {batchv1.ForbidConcurrent, short, nil, before, next, "(next run 14:00)", ""},
		"with Forbid, if there is time": {batchv1.ForbidConcurrent, long, nil, "", "", "its latest start has come, because the next run of its CronJob comes at Nov 21 14:00, at ", ""},
		"but not with Allow":            {batchv1.AllowConcurrent, short, nil, free, "", "; latest start Nov 22 12:00", ""},
		"but not with Forbid and a deadline": {batchv1.ForbidConcurrent, deadline, nil, byDeadline, "", "; latest start Nov 21 19:39",
			"the CronJob skips runs while this run waits, the next at 2026-11-21 14:00 UTC; the CronJob later runs the last skipped run"},
		"but not with Forbid and a deadline, and says what is made up for": {batchv1.ForbidConcurrent, deadline, ptr.To(int64(200)), byDeadline, "", "",
			"the CronJob later runs the last skipped run, but only within 200s after that run was due (startingDeadlineSeconds)"},
	} {
		t.Run(name, func(t *testing.T) {
			c := everyTwoHours(tt.policy, tolerant(tt.ask))
			c.Spec.StartingDeadlineSeconds = tt.deadlineSeconds
			w := cronJobs(t, c)
			job, warnings := admitJobWarned(t, w, scheduledBy(c))
			notes := job.Annotations
			if notes[v1alpha1.LatestStartAnnotation] != tt.latest || notes[v1alpha1.NextRunAnnotation] != tt.next || !strings.Contains(notes[v1alpha1.ReasonAnnotation], tt.reason) {
				t.Errorf("want latest start %s, next run %s: %v", tt.latest, tt.next, notes)
			}
			if template := job.Spec.Template.Annotations; template[v1alpha1.NextRunAnnotation] != tt.next {
				t.Errorf("the pods do not know the next run: %v", template)
			}
			if (len(warnings) > 0) != (tt.warning != "") || !strings.Contains(strings.Join(warnings, "\n"), tt.warning) {
				t.Errorf("warned of %q, want %q", warnings, tt.warning)
			}
		})
	}
}

// admitJobWarned returns a Job as the API server would have it after the webhook, and what that
// warns of.
func admitJobWarned(t *testing.T, w *Webhook, job *batchv1.Job) (*batchv1.Job, []string) {
	t.Helper()
	raw, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	patched, response := admit(t, w, "Job", raw)
	if !response.Allowed {
		t.Fatalf("refused: %+v", response.Result)
	}
	after := &batchv1.Job{}
	if err := json.Unmarshal(patched, after); err != nil {
		t.Fatal(err)
	}
	return after, response.Warnings
}

func TestARunOfACronJobThatIsNotKnownYetStartsAtOnce(t *testing.T) {
	c := everyTwoHours(batchv1.AllowConcurrent, tolerant(nil))
	job, _ := admitJobWarned(t, dirtyNow(t), scheduledBy(c))
	if job.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased || job.Annotations[v1alpha1.OutcomeAnnotation] != v1alpha1.OutcomeNotHeld {
		t.Errorf("%v, %v", job.Labels, job.Annotations)
	}
	byHand := scheduledBy(c)
	byHand.OwnerReferences[0].Controller = nil
	if job, _ := admitJobWarned(t, dirtyNow(t), byHand); job.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld {
		t.Errorf("made by hand: %v, %v", job.Labels, job.Annotations)
	}
}

func TestACronJobAsksForItsRuns(t *testing.T) {
	wish := map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}
	duration := map[string]string{v1alpha1.DurationAnnotation: "1h"}
	for name, tt := range map[string]struct {
		cronJob metav1.ObjectMeta
		job     map[string]string // annotations
		state   string
	}{
		"by annotations":                     {metav1.ObjectMeta{Annotations: tolerant(nil)}, nil, v1alpha1.StateHeld},
		"by a label":                         {metav1.ObjectMeta{Labels: wish, Annotations: duration}, nil, v1alpha1.StateHeld},
		"unless its run says something else": {metav1.ObjectMeta{Annotations: tolerant(nil)}, map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}, ""},
		"or says nothing of waiting":         {metav1.ObjectMeta{Annotations: duration}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := everyTwoHours(batchv1.AllowConcurrent, tt.job)
			c.Labels, c.Annotations = tt.cronJob.Labels, tt.cronJob.Annotations
			w := cronJobs(t, c)
			came := scheduledBy(c)
			job := came
			for range 2 { // the second time as its own result
				job, _ = admitJobWarned(t, w, job)
				if job.Labels[v1alpha1.StateLabel] != tt.state {
					t.Fatalf("state %q, want %q: %v", job.Labels[v1alpha1.StateLabel], tt.state, job.Annotations)
				}
			}
			if tt.state == "" {
				if diff := cmp.Diff(came, job); diff != "" {
					t.Errorf("a run that does not wait is changed: %s", diff)
				}
				return
			}
			for key, value := range c.Annotations { // the loop, users and pods read it there
				if job.Annotations[key] != value || job.Spec.Template.Annotations[key] != value {
					t.Errorf("%s is not on the run: %v, %v", key, job.Annotations, job.Spec.Template.Annotations)
				}
			}
			for key, value := range c.Labels {
				if job.Labels[key] != value || job.Spec.Template.Labels[key] != value {
					t.Errorf("the label %s is not on the run: %v, %v", key, job.Labels, job.Spec.Template.Labels)
				}
			}
		})
	}
}

func TestARunOfACronJobThatDoesNotAskIsLeftAlone(t *testing.T) {
	c := everyTwoHours(batchv1.ForbidConcurrent, nil)
	raw := []byte(`{"metadata":{"name":"c-1","ownerReferences":[{"apiVersion":"batch/v1","kind":"CronJob","name":"c","uid":"u","controller":true}]},"spec":{"template":{}}}`)
	if _, response := admit(t, cronJobs(t, c), "Job", raw); len(response.Patch) > 0 || len(response.Warnings) > 0 || !response.Allowed {
		t.Errorf("%s, %v", response.Patch, response.Warnings)
	}
}

func TestWhoWritesACronJobIsToldOfTheTimeBetweenRuns(t *testing.T) {
	const ends = " (2026-11-21 14:00 UTC and 2026-11-21 16:00 UTC), and a run could wait for up to "
	short := tolerant(map[string]string{v1alpha1.DurationAnnotation: "20m"})
	with := func(base map[string]string, key, value string) map[string]string {
		return tolerant(map[string]string{v1alpha1.DurationAnnotation: base[v1alpha1.DurationAnnotation], key: value})
	}
	for name, tt := range map[string]struct {
		policy      batchv1.ConcurrencyPolicy
		annotations map[string]string
		change      func(*batchv1.CronJob)
		want        []string
	}{
		"with Replace": {batchv1.ReplaceConcurrent, short, nil, []string{
			"spec.concurrencyPolicy: Replace: runs come only 2h apart" + ends + "1d: each run starts early enough to be done before the next",
		}},
		"with Forbid": {batchv1.ForbidConcurrent, short, nil, []string{
			"spec.concurrencyPolicy: Forbid: runs come only 2h apart" + ends + "1d: each run starts early enough to be done before the next; with the annotation gridlatch.dev/deadline, a run waits longer, and the CronJob skips runs meanwhile",
		}},
		"with Forbid and a deadline": {batchv1.ForbidConcurrent, with(short, v1alpha1.DeadlineAnnotation, "8h"), nil, []string{
			"spec.concurrencyPolicy: Forbid: runs come only 2h apart" + ends + "7h39m: the CronJob skips runs while a run waits; the CronJob later runs the last skipped run",
		}},
		"with Forbid, a deadline and startingDeadlineSeconds": {batchv1.ForbidConcurrent, with(short, v1alpha1.DeadlineAnnotation, "8h"), func(c *batchv1.CronJob) {
			c.Spec.StartingDeadlineSeconds = ptr.To(int64(60))
		}, []string{
			"spec.concurrencyPolicy: Forbid: runs come only 2h apart" + ends + "7h39m: the CronJob skips runs while a run waits; the CronJob later runs the last skipped run, but only within 60s after that run was due (startingDeadlineSeconds)",
		}},
		"if each run takes as long": {batchv1.ReplaceConcurrent, tolerant(map[string]string{v1alpha1.DurationAnnotation: "2h"}), nil, []string{
			"spec.concurrencyPolicy: Replace: runs come only 2h apart" + ends + "1d: each run starts at once, because it is expected to run for 2h",
		}},
		"in its own metadata": {batchv1.ReplaceConcurrent, nil, func(c *batchv1.CronJob) { c.Annotations = short }, []string{
			"spec.concurrencyPolicy: Replace: runs come only 2h apart" + ends + "1d: each run starts early enough to be done before the next",
		}},
		"of a value that cannot be read": {batchv1.AllowConcurrent, with(short, v1alpha1.DeadlineAnnotation, "tomorrow"), nil, []string{
			`the runs start at once: spec.jobTemplate.metadata.annotations[gridlatch.dev/deadline]: Invalid value: "tomorrow": want an instant (2026-11-22T06:00:00Z), a duration after creation (8h, 1d12h, PT8H) or a time of day with its zone (06:00 Europe/Berlin)`,
		}},
		"not with Allow":                     {batchv1.AllowConcurrent, short, nil, nil},
		"not with Allow, which is the usual": {"", short, nil, nil},
		"not if the runs are days apart":     {batchv1.ReplaceConcurrent, short, func(c *batchv1.CronJob) { c.Spec.Schedule = "0 0 * * 1" }, nil},
		"not if the deadline comes before the next run": {
			batchv1.ForbidConcurrent, with(short, v1alpha1.DeadlineAnnotation, "90m"), nil, nil,
		},
		"not while it is suspended":          {batchv1.ReplaceConcurrent, short, func(c *batchv1.CronJob) { c.Spec.Suspend = ptr.To(true) }, nil},
		"not if its runs do not wait":        {batchv1.ReplaceConcurrent, with(short, v1alpha1.DelayTolerantAnnotation, "false"), nil, nil},
		"not if there are none":              {batchv1.ReplaceConcurrent, short, func(c *batchv1.CronJob) { c.Spec.Schedule = "0 0 30 2 *" }, nil},
		"not of what Kubernetes will refuse": {batchv1.ReplaceConcurrent, short, func(c *batchv1.CronJob) { c.Spec.Schedule = "CRON_TZ=UTC" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := everyTwoHours(tt.policy, tt.annotations)
			if tt.change != nil {
				tt.change(c)
			}
			raw, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, operation := range []admissionv1.Operation{admissionv1.Create, admissionv1.Update} {
				req := request("CronJob", raw)
				req.Operation = operation
				response := dirtyNow(t).Handle(t.Context(), req)
				if diff := cmp.Diff(tt.want, response.Warnings); diff != "" || !response.Allowed || len(response.Patch) > 0 {
					t.Errorf("%s, %+v", diff, response)
				}
			}
		})
	}
}

func TestACronJobThatIsCreatedSuspendedLeavesTimeForItsNextRunOnceItIsResumed(t *testing.T) {
	c := everyTwoHours(batchv1.ReplaceConcurrent, tolerant(map[string]string{v1alpha1.DurationAnnotation: "20m"}))
	c.Spec.JobTemplate.Spec.Suspend = ptr.To(true)
	job, _ := admitJobWarned(t, cronJobs(t, c), scheduledBy(c))
	rules, err := dirtyNow(t).Policies.Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	job.CreationTimestamp = metav1.NewTime(t0)
	if got, want := rules.TaskOf(job).LatestStart, t0.Add(99*time.Minute); !got.Equal(want) {
		t.Errorf("latest start %s, want %s", got, want)
	}
}

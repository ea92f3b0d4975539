package webhook

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// ran is an API server that has these Jobs.
type ran struct {
	empty
	jobs []batchv1.Job
}

func (r ran) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*batchv1.JobList).Items = r.jobs
	return nil
}

// experienced is dirtyNow, with the knowledge that the work "etl" in the
// namespace default took these minutes.
func experienced(t *testing.T, minutes ...int) *Webhook {
	t.Helper()
	w := dirtyNow(t)
	var past ran
	for _, m := range minutes {
		start, end := metav1.NewTime(t0), metav1.NewTime(t0.Add(time.Duration(m)*time.Minute))
		past.jobs = append(past.jobs, batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Labels: map[string]string{v1alpha1.RunsOfLabel: "etl"}},
			Status: batchv1.JobStatus{
				StartTime: &start, CompletionTime: &end,
				Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}},
			},
		})
	}
	w.Runs.Reader = past
	if err := w.Runs.Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// decided returns a Job as the API server would have it after the webhook.
func decided(t *testing.T, w *Webhook, job batchv1.Job) batchv1.Job {
	t.Helper()
	raw, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	patched, response := admit(t, w, "Job", raw)
	var after batchv1.Job
	if err := json.Unmarshal(patched, &after); err != nil || !response.Allowed {
		t.Fatal(err, response)
	}
	return after
}

func patient(labels map[string]string, more ...string) batchv1.Job {
	job := batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Labels: labels, Annotations: map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DeadlineAnnotation: "8h"},
	}}
	for i := 0; i < len(more); i += 2 {
		job.Annotations[more[i]] = more[i+1]
	}
	return job
}

func TestWhatIsTakenForTheDurationOfAJob(t *testing.T) {
	etl := map[string]string{v1alpha1.RunsOfLabel: "etl"}
	type want struct{ Over, Expected, Source, LatestStart string }
	tests := map[string]struct {
		job  batchv1.Job
		want want
	}{
		"the median of its runs, in time for the slowest": {patient(etl), want{" over ~47m,", "47m", "median of 3 earlier runs", "2026-11-21T18:15:00Z"}},
		"what it asks for":                    {patient(etl, v1alpha1.DurationAnnotation, "2h"), want{"", "", "", "2026-11-21T17:54:00Z"}},
		"the policy's default for other work": {patient(map[string]string{v1alpha1.RunsOfLabel: "other"}), want{" over 1h,", "", "the policy's default", "2026-11-21T18:57:00Z"}},
		"the policy's default for no work":    {patient(nil), want{" over 1h,", "", "the policy's default", "2026-11-21T18:57:00Z"}},
		"not what a copy was expected to run": {
			patient(nil, v1alpha1.ExpectedDurationAnnotation, "9h", v1alpha1.DurationSourceAnnotation, "?", v1alpha1.StartedAnnotation, "?"),
			want{" over 1h,", "", "the policy's default", "2026-11-21T18:57:00Z"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := experienced(t, 30, 47, 100)
			after := decided(t, w, tt.job)
			a := after.Annotations
			got := want{tt.want.Over, a[v1alpha1.ExpectedDurationAnnotation], a[v1alpha1.DurationSourceAnnotation], a[v1alpha1.LatestStartAnnotation]}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(a[v1alpha1.ReasonAnnotation], " in X"+tt.want.Over) || (tt.want.Over == "") == strings.Contains(a[v1alpha1.ReasonAnnotation], " over ") {
				t.Errorf("reason: %s", a[v1alpha1.ReasonAnnotation])
			}
			if a[v1alpha1.StartedAnnotation] != "" {
				t.Error("it has not started yet")
			}
			if diff := cmp.Diff(after, decided(t, w, after)); diff != "" {
				t.Error("decided on again:", diff)
			}
			// its pods are planned with the same
			again := defaultPolicy(t, w).TaskOf(&metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(t0), Annotations: after.Spec.Template.Annotations})
			whole := defaultPolicy(t, w).TaskOf(&metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(t0), Annotations: a})
			if diff := cmp.Diff(whole, again); diff != "" || whole.LatestStart.Format(time.RFC3339) != tt.want.LatestStart {
				t.Errorf("latest start %s, its pods: %s", whole.LatestStart, diff)
			}
		})
	}
}

func defaultPolicy(t *testing.T, w *Webhook) *policy.Policy {
	t.Helper()
	rules, err := w.Policies.Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestAJobThatStartsAtOnceTellsItsDurationToo(t *testing.T) {
	w := experienced(t, 47, 47, 47)
	job := patient(map[string]string{v1alpha1.RunsOfLabel: "etl"}, v1alpha1.ThresholdAnnotation, "500")
	after := decided(t, w, job)
	if after.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased || after.Annotations[v1alpha1.ExpectedDurationAnnotation] != "47m" ||
		!strings.Contains(after.Annotations[v1alpha1.ReasonAnnotation], "over ~47m") {
		t.Errorf("%v %v", after.Labels, after.Annotations)
	}
}

func TestJobsOfACronJobAreRunsOfTheSame(t *testing.T) {
	owned := func(job batchv1.Job, version, kind, name string) batchv1.Job {
		job.OwnerReferences = []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: name, UID: "1"}}
		return job
	}
	own := map[string]string{v1alpha1.RunsOfLabel: "mine"}
	unasked := patient(nil)
	unasked.Annotations[v1alpha1.DelayTolerantAnnotation] = "false"
	byTemplate := batchv1.Job{}
	byTemplate.Spec.Template.Annotations = map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}
	for name, tt := range map[string]struct {
		job  batchv1.Job
		want string
	}{
		"by the CronJob's name":          {owned(patient(nil), "batch/v1", "CronJob", "nightly"), "nightly"},
		"if only the pod template asks":  {owned(byTemplate, "batch/v1", "CronJob", "nightly"), "nightly"},
		"by the label that it came with": {owned(patient(own), "batch/v1", "CronJob", "nightly"), "mine"},
		"not those of others":            {owned(patient(nil), "example.com/v1", "CronJob", "nightly"), ""},
		"not those of other kinds":       {owned(patient(nil), "batch/v1", "Job", "nightly"), ""},
		"not by what cannot be a label":  {owned(patient(nil), "batch/v1", "CronJob", "night ly"), ""},
		"not those that do not want it":  {owned(unasked, "batch/v1", "CronJob", "nightly"), ""},
		"not those that nobody has made": {patient(nil), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decided(t, dirtyNow(t), tt.job).Labels[v1alpha1.RunsOfLabel]; got != tt.want {
				t.Errorf("label %q, want %q", got, tt.want)
			}
		})
	}
}

func TestALatePodOfAJobKeepsWhatIsExpectedOfIt(t *testing.T) {
	controls := true
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Annotations:     map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.ExpectedDurationAnnotation: "47m", v1alpha1.LatestStartAnnotation: "?"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "1", Controller: &controls}},
	}, Spec: corev1.PodSpec{NodeName: "node"}} // for which it is not held
	owners := pod.OwnerReferences
	for name, want := range map[string]string{"of a Job": "47m", "of nobody": ""} {
		pod.OwnerReferences = nil
		if want != "" {
			pod.OwnerReferences = owners
		}
		raw, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		patched, _ := admit(t, dirtyNow(t), "Pod", raw)
		var after corev1.Pod
		if err := json.Unmarshal(patched, &after); err != nil {
			t.Fatal(err)
		}
		if got := after.Annotations[v1alpha1.ExpectedDurationAnnotation]; got != want || after.Annotations[v1alpha1.LatestStartAnnotation] != "" {
			t.Errorf("%s: %v", name, after.Annotations)
		}
	}
}

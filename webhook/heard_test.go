package webhook

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// admitWarned returns a pod as the API server would have it after the webhook, and what
// that warns of.
func admitWarned(t *testing.T, w *Webhook, pod *corev1.Pod) (*corev1.Pod, []string) {
	t.Helper()
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	patched, response := admit(t, w, "Pod", raw)
	if !response.Allowed {
		t.Fatalf("refused: %+v", response.Result)
	}
	admitted := &corev1.Pod{}
	if err := json.Unmarshal(patched, admitted); err != nil {
		t.Fatal(err)
	}
	return admitted, response.Warnings
}

// A wish that the user has written as a label is one that the user takes back there.
func TestAWishStaysInTheFormThatItHas(t *testing.T) {
	label, annotation := map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}, map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "1h"}
	duration := map[string]string{v1alpha1.DurationAnnotation: "1h"}
	type form struct{ job, ofJob, template, ofTemplate string } // annotation and label of each
	for name, tt := range map[string]struct {
		job, template metav1.ObjectMeta
		want          form
	}{
		"an annotation of the Job":      {metav1.ObjectMeta{Annotations: annotation}, metav1.ObjectMeta{}, form{"true", "", "true", ""}},
		"an annotation of the template": {metav1.ObjectMeta{}, metav1.ObjectMeta{Annotations: annotation}, form{"true", "", "true", ""}},
		"a label of the Job":            {metav1.ObjectMeta{Labels: label, Annotations: duration}, metav1.ObjectMeta{}, form{"", "true", "", "true"}},
		"a label of the template":       {metav1.ObjectMeta{}, metav1.ObjectMeta{Labels: label, Annotations: duration}, form{"", "true", "", "true"}},
		"a label of the Job, before its template": {
			metav1.ObjectMeta{Labels: label}, metav1.ObjectMeta{Labels: map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}, Annotations: duration}, form{"", "true", "", "true"},
		},
		"a label of the Job, before its template's annotation": {
			metav1.ObjectMeta{Labels: label}, metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.DelayTolerantAnnotation: "false", v1alpha1.DurationAnnotation: "1h"}}, form{"", "true", "true", "true"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			job := &batchv1.Job{ObjectMeta: tt.job}
			job.Spec.Template.ObjectMeta = tt.template
			for range 2 { // the second time as its own result
				job = admitJob(t, dirtyNow(t), job)
				template := job.Spec.Template
				got := form{job.Annotations[v1alpha1.DelayTolerantAnnotation], job.Labels[v1alpha1.DelayTolerantAnnotation], template.Annotations[v1alpha1.DelayTolerantAnnotation], template.Labels[v1alpha1.DelayTolerantAnnotation]}
				if job.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld || got != tt.want {
					t.Errorf("state %q, wishes %+v, want %+v", job.Labels[v1alpha1.StateLabel], got, tt.want)
				}
			}
		})
	}
	pod, _ := admitWarned(t, dirtyNow(t), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: label, Annotations: duration}})
	if _, annotated := pod.Annotations[v1alpha1.DelayTolerantAnnotation]; annotated || !hold.HasGate(pod.Spec.SchedulingGates) {
		t.Errorf("annotations %v, gates %v", pod.Annotations, pod.Spec.SchedulingGates)
	}
}

func TestAJobThatIsCreatedSuspendedIsPromisedNothing(t *testing.T) {
	job := admitJob(t, dirtyNow(t), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}, Spec: batchv1.JobSpec{Suspend: ptr.To(true)}})
	if job.Annotations[v1alpha1.ReasonAnnotation] != hold.ReasonAwaitsResume || !hold.AwaitsResume(job) || !*job.Spec.Suspend {
		t.Fatalf("labels %v, annotations %v", job.Labels, job.Annotations)
	}
	// its pods, when they come, are of a Job that is held, and planned from then
	job.Namespace, job.Name, job.UID = "default", "j", "u"
	job.Spec.Suspend = ptr.To(false)
	w := dirtyNow(t)
	var err error
	if w.Records, err = gating.StaticRecords(job); err != nil {
		t.Fatal(err)
	}
	owner := metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "u", Controller: ptr.To(true)}
	for wait, want := range map[string]string{"8h": "2026-11-21T18:57:00Z", "90m": "2026-11-21T12:27:00Z", "1m": ""} {
		meta := *job.Spec.Template.ObjectMeta.DeepCopy()
		meta.OwnerReferences, meta.Annotations[v1alpha1.DeadlineAnnotation] = []metav1.OwnerReference{owner}, wait
		pod, _ := admitWarned(t, w, &corev1.Pod{ObjectMeta: meta})
		if got := pod.Annotations[v1alpha1.LatestStartAnnotation]; got != want || hold.HasGate(pod.Spec.SchedulingGates) != (want != "") {
			t.Errorf("%s: latest start %q, want %q; %v", wait, got, want, pod.Annotations)
		}
	}
}

func TestAToolThatGivesUpIsWarnedOf(t *testing.T) {
	deadline := map[string]string{v1alpha1.DeadlineAnnotation: "8h"}
	for name, tt := range map[string]struct {
		labels, annotations map[string]string
		latest              time.Duration // after its creation; zero if it starts at once
		warning             string
	}{
		"nothing of ordinary work":               {map[string]string{"app": "x"}, tolerant(deadline), 8*time.Hour - 63*time.Minute, ""},
		"GitHub's runners":                       {map[string]string{"actions.github.com/scale-set-name": "x"}, tolerant(nil), 23*time.Hour + 50*time.Minute, "GitHub Actions Runner Controller by default gives up on work that does not start within 1d, and no setting changes this"},
		"an operator of Airflow":                 {map[string]string{"dag_id": "x"}, tolerant(nil), time.Minute, "Airflow KubernetesPodOperator by default gives up on work that does not start within 2m (setting: schedule_timeout_seconds and startup_timeout_seconds); to let the work wait longer, raise both and add the annotation gridlatch.dev/deadline"},
		"one that knows better":                  {map[string]string{"dag_id": "x"}, tolerant(deadline), 8*time.Hour - 63*time.Minute, "Airflow KubernetesPodOperator by default gives up on work that does not start within 2m (setting: schedule_timeout_seconds and startup_timeout_seconds); this deadline lets the work wait longer, so raise schedule_timeout_seconds and startup_timeout_seconds above the wait"},
		"GitHub's runners, by a deadline":        {map[string]string{"actions.github.com/scale-set-name": "x"}, tolerant(map[string]string{v1alpha1.DeadlineAnnotation: "40h"}), 23*time.Hour + 50*time.Minute, "GitHub Actions Runner Controller by default gives up on work that does not start within 1d, and no setting changes this"},
		"Tekton's pod, whose deadline is a copy": {map[string]string{"tekton.dev/taskRun": "x", "tekton.dev/pipelineRun": "y"}, tolerant(map[string]string{v1alpha1.DeadlineAnnotation: "24h", v1alpha1.DurationAnnotation: "10m"}), 0, "Tekton by default gives up on work that does not end within 1h (setting: timeout); to let the work wait longer, let Gridlatch hold the PipelineRun or TaskRun, by manifests/components/tekton"},
		"nothing of a pod that is never held":    {map[string]string{"runner-pod": "x"}, tolerant(deadline), 0, ""},
		"a hook, by an annotation":               {nil, tolerant(map[string]string{"helm.sh/hook": "pre-install"}), 0, "Helm by default gives up on work that does not end within 5m (setting: --timeout); to let the work wait longer, raise this setting and add the annotation gridlatch.dev/deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			want := ""
			if tt.latest > 0 {
				want = t0.Add(tt.latest).Format(time.RFC3339)
			}
			var warnings []string
			if tt.warning != "" {
				warnings = []string{tt.warning}
			}
			meta := metav1.ObjectMeta{Labels: tt.labels, Annotations: tt.annotations}
			pod, told := admitWarned(t, dirtyNow(t), &corev1.Pod{ObjectMeta: meta})
			if diff := cmp.Diff(warnings, told); diff != "" || pod.Annotations[v1alpha1.LatestStartAnnotation] != want {
				t.Errorf("of a pod: %s; latest start %s, want %s", diff, pod.Annotations[v1alpha1.LatestStartAnnotation], want)
			}
			if job := admitJob(t, dirtyNow(t), &batchv1.Job{ObjectMeta: meta}); job.Annotations[v1alpha1.LatestStartAnnotation] != want {
				t.Errorf("of a Job: latest start %s, want %s", job.Annotations[v1alpha1.LatestStartAnnotation], want)
			}
		})
	}
}

func TestWhatStartsAtOnceAndStillWaitsSaysForWhat(t *testing.T) {
	soon := tolerant(map[string]string{v1alpha1.DeadlineAnnotation: "1m"})
	pod, _ := admitWarned(t, dirtyNow(t), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: soon}, Spec: corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: "a.example/x"}}}})
	idle := admitJob(t, dirtyNow(t), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: soon}, Spec: batchv1.JobSpec{Parallelism: ptr.To(int32(0))}})
	for waits, o := range map[string]metav1.Object{"the gate a.example/x": pod, "parallelism 0": idle} {
		if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.HasPrefix(reason, "released ") || !strings.HasSuffix(reason, "; it still waits for "+waits) {
			t.Errorf("reason %q, want %q in it", reason, waits)
		}
	}
}

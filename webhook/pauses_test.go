package webhook

import (
	"encoding/json"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

func TestAnInterruptibleJobIsHeldAsItWillBePaused(t *testing.T) {
	interruptible := tolerant(map[string]string{v1alpha1.InterruptibleAnnotation: "true"})
	of := func(kind, version string) []metav1.OwnerReference {
		return []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: "o", UID: "o", Controller: ptr.To(true)}}
	}
	for name, tt := range map[string]struct {
		job       batchv1.Job
		clean     bool
		suspended bool // by us
		mayPause  bool
		warning   string
		refused   string
	}{
		"it waits": {job: batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: interruptible}}, suspended: true, mayPause: true},
		"its template asks": {
			job:       batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: interruptible}}}},
			suspended: true, mayPause: true,
		},
		"it starts at once": {job: batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: interruptible}}, clean: true, mayPause: true},
		"its template asks, and it starts at once": {
			job:   batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: interruptible}}}},
			clean: true, mayPause: true,
		},
		"Kueue has it": {
			job:     batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: interruptible, Labels: map[string]string{hold.KueueQueueLabel: "team"}}},
			warning: "gridlatch.dev/interruptible has no effect: Kueue gives it quota, and might not have quota again in time",
		},
		"a JobSet has it": {
			job:     batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: interruptible, OwnerReferences: of("JobSet", "jobset.x-k8s.io/v1alpha2")}},
			warning: "gridlatch.dev/interruptible has no effect: its JobSet decides when it runs: annotate the JobSet instead",
		},
		"its user has suspended it": {
			job:     batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: interruptible}, Spec: batchv1.JobSpec{Suspend: ptr.To(true)}},
			warning: "gridlatch.dev/interruptible has no effect: its user has suspended it, and decides when it runs",
		},
		"it wants gates, too": {
			job:     batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(map[string]string{v1alpha1.InterruptibleAnnotation: "true", v1alpha1.HoldAnnotation: v1alpha1.HoldByGate})}},
			refused: `metadata.annotations[gridlatch.dev/hold]: Invalid value: "gate": interruptible work is always held by "suspend": remove this annotation, or gridlatch.dev/interruptible`,
		},
		"its template wants gates": {
			job: batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Annotations: interruptible},
				Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.HoldAnnotation: v1alpha1.HoldByGate}}}},
			},
			refused: "interruptible work is always held",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := dirtyNow(t)
			if tt.clean {
				w.Store = &forecast.Store{} // nothing is known of the grid
			}
			raw, err := json.Marshal(tt.job)
			if err != nil {
				t.Fatal(err)
			}
			patched, response := admit(t, w, "Job", raw)
			if tt.refused != "" {
				if response.Allowed || !strings.Contains(response.Result.Message, tt.refused) {
					t.Errorf("allowed: %v, %+v", response.Allowed, response.Result)
				}
				return
			}
			if !response.Allowed || strings.Join(response.Warnings, "") != tt.warning {
				t.Fatalf("%v, warnings %q", response.Result, response.Warnings)
			}
			var job batchv1.Job
			if err := json.Unmarshal(patched, &job); err != nil {
				t.Fatal(err)
			}
			if hold.HoldsJobItself(&job) != tt.suspended {
				t.Errorf("held itself: %v, %v", !tt.suspended, job.Annotations)
			}
			if mayPause := policy.ProgressOf(&job) != nil; mayPause != tt.mayPause && tt.warning == "" {
				t.Errorf("may be paused: %v, %v, template %v", mayPause, job.Annotations, job.Spec.Template.Labels)
			}
			if tt.mayPause && job.Annotations[v1alpha1.LatestStartAnnotation] == "" {
				t.Errorf("it is promised nothing: %v", job.Annotations)
			}
			if tt.clean && job.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased {
				t.Errorf("it waits: %v", job.Annotations)
			}
		})
	}
}

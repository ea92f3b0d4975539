package webhook

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// cleanNodes selects the nodes for work that may wait.
func cleanNodes() map[string]string {
	return map[string]string{v1alpha1.CarbonStatusKey: v1alpha1.LowIntensity}
}

// wanting returns the metadata of work with the wish to wait in words.
func wanting(meta metav1.ObjectMeta) metav1.ObjectMeta {
	meta.Annotations = maps.Clone(meta.Annotations)
	metav1.SetMetaDataAnnotation(&meta, v1alpha1.DelayTolerantAnnotation, "true")
	return meta
}

func duration(more map[string]string) metav1.ObjectMeta {
	annotations := map[string]string{v1alpha1.DurationAnnotation: "1h"}
	maps.Copy(annotations, more)
	return metav1.ObjectMeta{Annotations: annotations}
}

func TestAPodThatSelectsCleanNodesIsDecidedOnAsIfItAskedToWait(t *testing.T) {
	affine := corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: v1alpha1.CarbonStatusKey, Operator: corev1.NodeSelectorOpIn, Values: []string{v1alpha1.LowIntensity}},
		}}},
	}}}}
	forged := duration(map[string]string{v1alpha1.StartedAnnotation: "2099-01-01T00:00:00Z"})
	forged.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}
	for name, tt := range map[string]struct {
		pod  corev1.Pod
		held bool
	}{
		"by its node selector":              {corev1.Pod{ObjectMeta: duration(nil), Spec: corev1.PodSpec{NodeSelector: cleanNodes()}}, true},
		"without any annotation":            {corev1.Pod{Spec: corev1.PodSpec{NodeSelector: cleanNodes()}}, true},
		"by its node affinity":              {corev1.Pod{ObjectMeta: duration(nil), Spec: affine}, true},
		"with a deadline that is too near":  {corev1.Pod{ObjectMeta: duration(map[string]string{v1alpha1.DeadlineAnnotation: "61m"}), Spec: corev1.PodSpec{NodeSelector: cleanNodes()}}, false},
		"with a node of its own":            {corev1.Pod{ObjectMeta: duration(nil), Spec: corev1.PodSpec{NodeSelector: cleanNodes(), NodeName: "n"}}, false},
		"with marks that somebody has made": {corev1.Pod{ObjectMeta: forged, Spec: corev1.PodSpec{NodeSelector: cleanNodes()}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := dirtyNow(t)
			w.MarkForExtender = true
			asked := tt.pod
			asked.ObjectMeta = wanting(tt.pod.ObjectMeta)
			want, _ := admitWarned(t, w, &asked)
			got, _ := admitWarned(t, w, &tt.pod)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if isHeld := hold.HasGate(got.Spec.SchedulingGates); isHeld != tt.held || got.Spec.NodeSelector[v1alpha1.CarbonStatusKey] != tt.pod.Spec.NodeSelector[v1alpha1.CarbonStatusKey] {
				t.Errorf("held: %t, want %t; node selector %v", isHeld, tt.held, got.Spec.NodeSelector)
			}
			reinvoke(t, "Pod", tt.pod)
		})
	}
}

func TestAJobWhosePodsSelectCleanNodesIsDecidedOnAsIfItAskedToWait(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*batchv1.Job)
		held   bool
	}{
		"as it is":              {func(*batchv1.Job) {}, true},
		"as it asks to be held": {func(j *batchv1.Job) { j.Annotations[v1alpha1.HoldAnnotation] = v1alpha1.HoldBySuspend }, true},
		"with a time limit":     {func(j *batchv1.Job) { j.Spec.ActiveDeadlineSeconds = ptr.To(int64(600)) }, true},
		"in a queue of Kueue": {func(j *batchv1.Job) {
			j.Labels, j.Spec.Suspend = map[string]string{hold.KueueQueueLabel: "team"}, ptr.To(true)
		}, true},
		"suspended by its user":            {func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) }, true},
		"with a deadline that is too near": {func(j *batchv1.Job) { j.Annotations[v1alpha1.DeadlineAnnotation] = "61m" }, false},
		"with a mistake, as a controller's": {func(j *batchv1.Job) {
			j.OwnerReferences = []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "X", Name: "x", UID: "x", Controller: ptr.To(true)}}
			j.Annotations[v1alpha1.ThresholdAnnotation] = "low"
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			job := batchv1.Job{ObjectMeta: duration(nil)}
			job.Spec.Template.Spec.NodeSelector = cleanNodes()
			tt.change(&job)
			asked := job
			asked.ObjectMeta = wanting(job.ObjectMeta)
			want, got := admitJob(t, dirtyNow(t), &asked), admitJob(t, dirtyNow(t), &job)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if isHeld := got.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld; isHeld != tt.held {
				t.Errorf("held: %t, want %t: %v", isHeld, tt.held, got.Annotations)
			}
			if diff := cmp.Diff(cleanNodes(), got.Spec.Template.Spec.NodeSelector); diff != "" {
				t.Error(diff)
			}
			reinvoke(t, "Job", job)
		})
	}
}

func TestWhatSaysNoIsNotHeldForItsNodeSelector(t *testing.T) {
	no := map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{NodeSelector: cleanNodes()}}
	refusing := *template.DeepCopy()
	refusing.Annotations = no
	quota := *template.DeepCopy()
	quota.Labels = map[string]string{policy.QuotaLabel: "main"}
	daemon := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "d", UID: "d", Controller: ptr.To(true)}
	for name, tt := range map[string]struct {
		kind   string
		object any
	}{
		"a pod":                     {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: no}, Spec: template.Spec}},
		"a pod by its label":        {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: no}, Spec: template.Spec}},
		"a Job":                     {"Job", batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: no}, Spec: batchv1.JobSpec{Template: template}}},
		"a Job by its pod template": {"Job", batchv1.Job{Spec: batchv1.JobSpec{Template: refusing}}},
		"a pod with quota":          {"Pod", corev1.Pod{ObjectMeta: quota.ObjectMeta, Spec: quota.Spec}},
		"a Job with quota":          {"Job", batchv1.Job{Spec: batchv1.JobSpec{Template: quota}}},
		"a pod of a Job":            {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{ownerJob()}}, Spec: template.Spec}},
		"a pod of a DaemonSet":      {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{daemon}}, Spec: template.Spec}},
		"other nodes":               {"Pod", corev1.Pod{Spec: corev1.PodSpec{NodeSelector: map[string]string{v1alpha1.CarbonStatusKey: "high-intensity"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := json.Marshal(tt.object)
			if err != nil {
				t.Fatal(err)
			}
			if _, response := admit(t, dirtyNow(t), tt.kind, raw); !response.Allowed || len(response.Patch) > 0 || len(response.Warnings) > 0 {
				t.Errorf("patch %s, warnings %q", response.Patch, response.Warnings)
			}
		})
	}
}

func TestARunSelectsCleanNodesAsItsCronJobSays(t *testing.T) {
	c := everyTwoHours(batchv1.ReplaceConcurrent, nil)
	c.Spec.JobTemplate.Spec.Template.Spec.NodeSelector = cleanNodes()
	c.Annotations = map[string]string{v1alpha1.DurationAnnotation: "20m"}
	job, warnings := admitJobWarned(t, cronJobs(t, c), scheduledBy(c))
	if job.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld || job.Annotations[v1alpha1.DurationAnnotation] != "20m" || job.Annotations[v1alpha1.NextRunAnnotation] == "" {
		t.Errorf("labels %v, annotations %v, warnings %q", job.Labels, job.Annotations, warnings)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	response := dirtyNow(t).Handle(t.Context(), request("CronJob", raw))
	if len(response.Warnings) != 1 || !strings.HasPrefix(response.Warnings[0], "spec.concurrencyPolicy: Replace: ") {
		t.Errorf("warnings %q", response.Warnings)
	}
	c.Labels = map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}
	job, _ = admitJobWarned(t, cronJobs(t, c), scheduledBy(c))
	if job.Labels[v1alpha1.StateLabel] != "" || len(job.Annotations) > 0 {
		t.Errorf("the CronJob says no: labels %v, annotations %v", job.Labels, job.Annotations)
	}
}

func TestWorkThatSelectsCleanNodesIsAuditedAsIfItAskedToWait(t *testing.T) {
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{NodeSelector: cleanNodes()}}
	for kind, object := range map[string]any{"Pod": corev1.Pod{Spec: template.Spec}, "Job": batchv1.Job{Spec: batchv1.JobSpec{Template: template}}} {
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		for why, w := range auditors(t) {
			o := checkAudit(t, w, kind, raw, true)
			if planned := o.GetAnnotations()[v1alpha1.PlannedStartAnnotation]; planned != "2026-11-21T13:00:00Z" {
				t.Errorf("%s %s: planned for %q: %v", kind, why, planned, o.GetAnnotations())
			}
		}
	}
}

func TestANodeSelectorThatIsTooLargeHoldsNothing(t *testing.T) {
	selector := cleanNodes()
	selector["example.com/x"] = strings.Repeat("x", maxAffinityBytes)
	pod, warnings := admitWarned(t, dirtyNow(t), &corev1.Pod{Spec: corev1.PodSpec{NodeSelector: selector}})
	if hold.HasGate(pod.Spec.SchedulingGates) || len(warnings) != 1 || len(pod.Annotations) > 0 {
		t.Errorf("gates %v, annotations %v, warnings %q", pod.Spec.SchedulingGates, pod.Annotations, warnings)
	}
	job := &batchv1.Job{}
	job.Spec.Template.Spec.NodeSelector = selector
	if job := admitJob(t, dirtyNow(t), job); len(job.Annotations) > 0 || len(job.Labels) > 0 {
		t.Errorf("labels %v, annotations %v", job.Labels, job.Annotations)
	}
}

func TestTheStatusOfNodesIsNoAnnotation(t *testing.T) {
	annotations := tolerant(map[string]string{v1alpha1.CarbonStatusKey: v1alpha1.LowIntensity})
	_, warnings := admitWarned(t, dirtyNow(t), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}})
	want := []string{"metadata.annotations[gridlatch.dev/carbon-status]: has no effect here: write it into the node selector of the pods"}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Error(diff)
	}
}

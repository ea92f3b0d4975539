package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// selecting has pods run on nodes with a status.
func selecting(status string) corev1.PodSpec {
	return corev1.PodSpec{NodeSelector: map[string]string{v1alpha1.CarbonStatusKey: status}}
}

// affine has pods require one of some terms of a node.
func affine(terms ...corev1.NodeSelectorTerm) corev1.PodSpec {
	return corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
	}}}
}

func status(operator corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
		{Key: corev1.LabelArchStable, Operator: corev1.NodeSelectorOpIn, Values: []string{"arm64"}},
		{Key: v1alpha1.CarbonStatusKey, Operator: operator, Values: values},
	}}
}

func TestWhichNodeSelectorsAreTheWishToWait(t *testing.T) {
	const in, low = corev1.NodeSelectorOpIn, v1alpha1.LowIntensity
	preferred := corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 1, Preference: status(in, low)}},
	}}}
	for name, tt := range map[string]struct {
		spec corev1.PodSpec
		want bool
	}{
		"none":                              {corev1.PodSpec{}, false},
		"one for clean nodes":               {selecting(low), true},
		"one for dirty nodes":               {selecting("high-intensity"), false},
		"an empty one":                      {selecting(""), false},
		"the articles' key":                 {corev1.PodSpec{NodeSelector: map[string]string{"carbon-status": low}}, false},
		"a toleration":                      {corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: v1alpha1.CarbonStatusKey, Operator: corev1.TolerationOpEqual, Value: low}}}, false},
		"a preference":                      {preferred, false},
		"no required affinity":              {corev1.PodSpec{Affinity: &corev1.Affinity{}}, false},
		"an affinity without terms":         {affine(), false},
		"an affinity with an empty term":    {affine(corev1.NodeSelectorTerm{}), false},
		"an affinity":                       {affine(status(in, low)), true},
		"an affinity with two terms":        {affine(status(in, low), status(in, low)), true},
		"an affinity with a way out":        {affine(status(in, low), status(in, "high-intensity")), false},
		"an affinity with an empty way out": {affine(status(in, low), corev1.NodeSelectorTerm{}), false},
		"an affinity with a choice":         {affine(status(in, low, "high-intensity")), false},
		"an affinity against clean nodes":   {affine(status(corev1.NodeSelectorOpNotIn, low)), false},
		"an affinity for any status":        {affine(status(corev1.NodeSelectorOpExists)), false},
	} {
		t.Run(name, func(t *testing.T) {
			wish, asks := PodAskAnnotations(&corev1.Pod{Spec: tt.spec})[v1alpha1.DelayTolerantAnnotation]
			if asks != tt.want || asks && wish != "true" {
				t.Errorf("a pod asks: %t (%q), want %t", asks, wish, tt.want)
			}
			job := &batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: tt.spec}}}
			if _, asks := JobAskAnnotations(job)[v1alpha1.DelayTolerantAnnotation]; asks != tt.want {
				t.Errorf("a Job asks: %t, want %t", asks, tt.want)
			}
			c := &batchv1.CronJob{Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: job.Spec}}}
			if _, asks := CronJobAskAnnotations(c)[v1alpha1.DelayTolerantAnnotation]; asks != tt.want {
				t.Errorf("a CronJob asks: %t, want %t", asks, tt.want)
			}
		})
	}
}

func TestAWishInWordsCountsBeforeTheNodeSelector(t *testing.T) {
	for name, meta := range map[string]metav1.ObjectMeta{
		"an annotation": {Annotations: map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}},
		"a label":       {Labels: map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}},
	} {
		t.Run(name, func(t *testing.T) {
			none := batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: selecting(v1alpha1.LowIntensity)}}}
			ofJob, ofTemplate := none, none
			ofJob.ObjectMeta, ofTemplate.Spec.Template.ObjectMeta = meta, meta
			for where, tt := range map[string]struct {
				job batchv1.Job
				c   *batchv1.CronJob
			}{
				"of the Job":          {ofJob, nil},
				"of its pod template": {ofTemplate, nil},
				"of its CronJob":      {none, &batchv1.CronJob{ObjectMeta: meta}},
			} {
				before := tt.job.DeepCopy()
				JobAsksBySelector(&tt.job, tt.c)
				if diff := cmp.Diff(*before, tt.job); diff != "" {
					t.Errorf("%s: %s", where, diff)
				}
				if got := RunAskAnnotations(&tt.job, tt.c)[v1alpha1.DelayTolerantAnnotation]; got != "false" {
					t.Errorf("%s: wish %q", where, got)
				}
			}
			pod := &corev1.Pod{ObjectMeta: meta, Spec: selecting(v1alpha1.LowIntensity)}
			before := pod.DeepCopy()
			AskBySelector(pod)
			if diff := cmp.Diff(before, pod); diff != "" || PodAskAnnotations(pod)[v1alpha1.DelayTolerantAnnotation] != "false" {
				t.Errorf("pod: %s", diff)
			}
		})
	}
}

// Kueue adds the node labels of its ResourceFlavor to the node selector of what has quota.
func TestWhatHasQuotaDoesNotAskByItsNodeSelector(t *testing.T) {
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{QuotaLabel: "main"}}, Spec: selecting(v1alpha1.LowIntensity)}
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	AskBySelector(pod)
	job := &batchv1.Job{Spec: batchv1.JobSpec{Template: template}}
	JobAsksBySelector(job, nil)
	for name, asks := range map[string]map[string]string{"pod": PodAskAnnotations(pod), "Job": JobAskAnnotations(job)} {
		if len(asks) > 0 || len(pod.Annotations)+len(job.Annotations) > 0 {
			t.Errorf("%s: %v", name, asks)
		}
	}
}

func TestWhosePodsAskByTheirNodeSelector(t *testing.T) {
	controls := true
	for name, tt := range map[string]struct {
		owner *metav1.OwnerReference
		want  bool
	}{
		"nobody's":            {nil, true},
		"those of a Workflow": {&metav1.OwnerReference{APIVersion: "argoproj.io/v1alpha1", Kind: "Workflow", Controller: &controls}, true},
		"another's Job":       {&metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Job", Controller: &controls}, true},
		// the Job has the decision
		"those of a Job": {&metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Controller: &controls}, false},
		// the selector says on which nodes, and not when
		"those of a DaemonSet": {&metav1.OwnerReference{APIVersion: "apps/v1", Kind: "DaemonSet", Controller: &controls}, false},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{Spec: selecting(v1alpha1.LowIntensity)}
			if tt.owner != nil {
				pod.OwnerReferences = []metav1.OwnerReference{*tt.owner}
			}
			AskBySelector(pod)
			if wish, asks := Wish(pod); asks != tt.want || asks && wish != "true" {
				t.Errorf("asks: %t (%q), want %t", asks, wish, tt.want)
			}
		})
	}
}

func TestARunThatAsksByItsNodeSelectorInheritsFromItsCronJob(t *testing.T) {
	const wish, deadline = v1alpha1.DelayTolerantAnnotation, v1alpha1.DeadlineAnnotation
	job := &batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: selecting(v1alpha1.LowIntensity)}}}
	c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{deadline: "8h"}}}
	JobAsksBySelector(job, c)
	InheritAsk(job, c)
	want := metav1.ObjectMeta{Annotations: map[string]string{wish: "true", deadline: "8h"}}
	if diff := cmp.Diff(want, job.ObjectMeta, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

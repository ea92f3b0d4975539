package policy

import (
	"maps"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestWhichWishCounts(t *testing.T) {
	meta := func(label, annotation string) *metav1.ObjectMeta {
		m := &metav1.ObjectMeta{Labels: map[string]string{}, Annotations: map[string]string{}}
		if label != "" {
			m.Labels[v1alpha1.DelayTolerantAnnotation] = label
		}
		if annotation != "" {
			m.Annotations[v1alpha1.DelayTolerantAnnotation] = annotation
		}
		return m
	}
	for name, tt := range map[string]struct {
		template, job *metav1.ObjectMeta
		want          string
	}{
		"a label of the Job":                     {meta("", "true"), meta("false", ""), "false"},
		"an annotation before a label":           {meta("", ""), meta("false", "true"), "true"},
		"a label of the template":                {meta("true", ""), meta("", ""), "true"},
		"its annotation before its label":        {meta("true", "false"), meta("", ""), "false"},
		"what the Job says before what both say": {meta("true", "true"), meta("", "false"), "false"},
	} {
		t.Run(name, func(t *testing.T) {
			job := &batchv1.Job{ObjectMeta: *tt.job}
			job.Spec.Template.ObjectMeta = *tt.template
			if got := JobAskAnnotations(job)[v1alpha1.DelayTolerantAnnotation]; got != tt.want {
				t.Errorf("wish %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWhatAJobInheritsFromItsCronJob(t *testing.T) {
	const wish, deadline, duration = v1alpha1.DelayTolerantAnnotation, v1alpha1.DeadlineAnnotation, v1alpha1.DurationAnnotation
	type keys = map[string]string
	for name, tt := range map[string]struct {
		cronJob       metav1.ObjectMeta
		job, template keys // annotations
		want          metav1.ObjectMeta
	}{
		"all that the CronJob asks for": {
			metav1.ObjectMeta{Annotations: keys{wish: "true", deadline: "8h", "example.com/other": "x"}}, nil, nil,
			metav1.ObjectMeta{Annotations: keys{wish: "true", deadline: "8h"}},
		},
		"a wish that is a label, as a label": {
			metav1.ObjectMeta{Labels: keys{wish: "true"}, Annotations: keys{duration: "1h"}}, nil, nil,
			metav1.ObjectMeta{Labels: keys{wish: "true"}, Annotations: keys{duration: "1h"}},
		},
		"nothing that the Job says itself": {
			metav1.ObjectMeta{Annotations: keys{wish: "true", deadline: "8h"}}, keys{deadline: "2h"}, nil,
			metav1.ObjectMeta{Annotations: keys{wish: "true", deadline: "2h"}},
		},
		"nothing that its pod template says": {
			metav1.ObjectMeta{Annotations: keys{wish: "true", deadline: "8h", duration: "1h"}}, nil, keys{wish: "true", deadline: "2h"},
			metav1.ObjectMeta{Annotations: keys{duration: "1h"}},
		},
		"nothing if the Job does not want to wait": {
			metav1.ObjectMeta{Annotations: keys{wish: "true", deadline: "8h"}}, keys{wish: "false"}, nil,
			metav1.ObjectMeta{Annotations: keys{wish: "false"}},
		},
		"nothing if nobody wants to wait": {
			metav1.ObjectMeta{Annotations: keys{deadline: "8h"}}, nil, nil, metav1.ObjectMeta{},
		},
		"nothing if the CronJob does not want its runs to wait": {
			metav1.ObjectMeta{Labels: keys{wish: "false"}, Annotations: keys{deadline: "8h"}}, nil, nil, metav1.ObjectMeta{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Labels: keys{}, Annotations: keys{}}}
			maps.Copy(job.Annotations, tt.job)
			job.Spec.Template.Annotations = tt.template
			InheritAsk(job, &batchv1.CronJob{ObjectMeta: tt.cronJob})
			if diff := cmp.Diff(tt.want, job.ObjectMeta, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

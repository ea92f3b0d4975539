package policy

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
			if got := JobAskAnnotations(tt.template, tt.job)[v1alpha1.DelayTolerantAnnotation]; got != tt.want {
				t.Errorf("wish %q, want %q", got, tt.want)
			}
		})
	}
}

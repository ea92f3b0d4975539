package policy

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// Wish returns an object's wish to wait: the annotation delay-tolerant or, without the annotation,
// the label of the same name. The result is false if the object has neither.
func Wish(o metav1.Object) (value string, said bool) {
	if value, said = o.GetAnnotations()[v1alpha1.DelayTolerantAnnotation]; !said {
		value, said = o.GetLabels()[v1alpha1.DelayTolerantAnnotation]
	}
	return value, said
}

// AskAnnotations returns the annotations of an object by which the object asks. A wish that is a
// label becomes an annotation of the result.
func AskAnnotations(o metav1.Object) map[string]string {
	asks := map[string]string{}
	for _, key := range AskKeys() {
		if value, ok := o.GetAnnotations()[key]; ok {
			asks[key] = value
		}
	}
	if wish, ok := Wish(o); ok {
		asks[v1alpha1.DelayTolerantAnnotation] = wish
	}
	return asks
}

// JobAskAnnotations returns the annotations by which a Job asks. The annotations of the Job come
// before those of its pod template.
func JobAskAnnotations(template, job metav1.Object) map[string]string {
	ask := AskAnnotations(template)
	maps.Copy(ask, AskAnnotations(job))
	return ask
}

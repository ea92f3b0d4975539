package policy

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// Wish returns what an object says of waiting: its annotation DelayTolerant or,
// where there is none, its label of that key; false if it has neither.
func Wish(o metav1.Object) (value string, said bool) {
	if value, said = o.GetAnnotations()[v1alpha1.DelayTolerantAnnotation]; !said {
		value, said = o.GetLabels()[v1alpha1.DelayTolerantAnnotation]
	}
	return value, said
}

// Asked returns what an object asks for, as annotations: the wish to wait is among
// them where it is a label.
func Asked(o metav1.Object) map[string]string {
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

package ceiling

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// claim is a wish for a target's ceiling: that of its own annotations, or that
// of a CarbonAwareKedaScaler.
type claim struct {
	by     string
	since  time.Time
	scaler *carbonaware.CarbonAwareKedaScaler // nil if it is the annotations
}

// claims returns those for a target that may be heeded. The first holds: the one
// whose ceiling is in force, else the oldest.
func (c *Controller) claims(r ref, t *target) []claim {
	var claims []claim
	inForce := ""
	if t != nil {
		inForce = t.Annotations[v1alpha1.CeilingByAnnotation]
		if t.asks() {
			claims = append(claims, claim{by: "CarbonPolicy/" + t.policy(), since: t.CreationTimestamp.Time})
		}
	}
	for _, s := range c.scalersOf(r) {
		if r.kind != "" && c.allowed(s) {
			claims = append(claims, claim{by: nameOf(s), since: s.CreationTimestamp.Time, scaler: s})
		}
	}
	slices.SortFunc(claims, func(a, b claim) int {
		switch {
		case a.by == inForce && b.by != inForce:
			return -1
		case b.by == inForce && a.by != inForce:
			return 1
		case !a.since.Equal(b.since):
			return a.since.Compare(b.since)
		default:
			return strings.Compare(a.by, b.by)
		}
	})
	return claims
}

func nameOf(s *carbonaware.CarbonAwareKedaScaler) string {
	return "CarbonAwareKedaScaler/" + s.Namespace + "/" + s.Name
}

// allowed reports whether a scaler may have the target that it names.
func (c *Controller) allowed(s *carbonaware.CarbonAwareKedaScaler) bool {
	all := c.Options.CrossNamespace
	return s.Spec.KedaTargetRef.Namespace == s.Namespace || slices.Contains(all, s.Namespace) || slices.Contains(all, "*")
}

// byTarget is the index of scalers by target.
const byTarget = "target"

// indexByTarget is the function of byTarget.
func indexByTarget(object any) ([]string, error) {
	if s, ok := object.(*carbonaware.CarbonAwareKedaScaler); ok {
		return []string{targetOf(s).String()}, nil
	}
	return nil, nil
}

// targetOf names the target of a scaler. Its kind is empty if there is none such.
func targetOf(s *carbonaware.CarbonAwareKedaScaler) ref {
	r := ref{namespace: s.Spec.KedaTargetRef.Namespace, name: s.Spec.KedaTargetRef.Name}
	switch s.Spec.KedaTarget {
	case carbonaware.TargetScaledObjects:
		r.kind = scaledObject
	case carbonaware.TargetScaledJobs:
		r.kind = scaledJob
	}
	return r
}

// keepTarget returns the transformation of what is watched of a kind.
func keepTarget(k kind) func(any) (any, error) {
	return func(object any) (any, error) {
		if o, ok := object.(*unstructured.Unstructured); ok {
			return newTarget(k, o), nil
		}
		return object, nil
	}
}

// keepScaler is the transformation of scalers. Of one that cannot be read, which
// the schema prevents, the metadata are kept.
func keepScaler(object any) (any, error) {
	o, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	s := &carbonaware.CarbonAwareKedaScaler{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, s) != nil {
		s = &carbonaware.CarbonAwareKedaScaler{ObjectMeta: metav1.ObjectMeta{
			Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
			Generation: o.GetGeneration(), CreationTimestamp: o.GetCreationTimestamp(),
		}}
	}
	s.ManagedFields = nil
	return s, nil
}

// allScalers returns every CarbonAwareKedaScaler.
func (c *Controller) allScalers() []*carbonaware.CarbonAwareKedaScaler { return only(c.scalers.list()) }

// scalersOf returns those that name a target.
func (c *Controller) scalersOf(r ref) []*carbonaware.CarbonAwareKedaScaler {
	return only(c.scalers.find(byTarget, r.String()))
}

func only(objects []any) []*carbonaware.CarbonAwareKedaScaler {
	var scalers []*carbonaware.CarbonAwareKedaScaler
	for _, object := range objects {
		if s, ok := object.(*carbonaware.CarbonAwareKedaScaler); ok {
			scalers = append(scalers, s)
		}
	}
	return scalers
}

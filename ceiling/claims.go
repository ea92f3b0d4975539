package ceiling

import (
	"cmp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// claim asks for a target's ceiling. It is the target's own annotations, its own trigger, or a
// CarbonAwareKedaScaler.
type claim struct {
	by     string
	since  time.Time
	scaler *carbonaware.CarbonAwareKedaScaler // nil for annotations and for a trigger
}

// claims returns the claims to a target that are allowed. The first one gets the ceiling: it has
// the ceiling already, or it is the oldest.
func (c *Controller) claims(r ref, t *target) []claim {
	var claims []claim
	holder := ""
	if t != nil {
		holder = t.Annotations[v1alpha1.CeilingByAnnotation]
		if t.asks() {
			claims = append(claims, claim{by: "CarbonPolicy/" + t.policy(), since: t.CreationTimestamp.Time})
		}
		if t.carbon.wantsCeiling() {
			claims = append(claims, claim{by: byTrigger, since: t.CreationTimestamp.Time})
		}
	}
	for _, s := range c.scalersOf(r) {
		if r.kind != "" && c.isAllowed(s) {
			claims = append(claims, claim{by: nameOf(s), since: s.CreationTimestamp.Time, scaler: s})
		}
	}
	slices.SortFunc(claims, func(a, b claim) int {
		switch {
		case a.by == holder && b.by != holder:
			return -1
		case b.by == holder && a.by != holder:
			return 1
		}
		return cmp.Or(a.since.Compare(b.since), strings.Compare(a.by, b.by))
	})
	return claims
}

func nameOf(s *carbonaware.CarbonAwareKedaScaler) string {
	return "CarbonAwareKedaScaler/" + s.Namespace + "/" + s.Name
}

// isAllowed reports whether a scaler may have the target that it names.
func (c *Controller) isAllowed(s *carbonaware.CarbonAwareKedaScaler) bool {
	allowed := c.Options.CrossNamespace
	return s.Spec.KedaTargetRef.Namespace == s.Namespace || slices.Contains(allowed, s.Namespace) || slices.Contains(allowed, "*")
}

// byTarget is the index of scalers by target.
const byTarget = "target"

// indexByTarget returns the values of a scaler in the index byTarget.
func indexByTarget(object any) ([]string, error) {
	if s, ok := object.(*carbonaware.CarbonAwareKedaScaler); ok {
		return []string{targetOf(s).String()}, nil
	}
	return nil, nil
}

// targetOf names the target of a scaler. The kind is empty if there is no such kind.
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

// keepTarget returns a function that turns an object of a kind into what is kept of it.
func keepTarget(k kind, triggers *triggerReader) func(any) (any, error) {
	fields := fieldsOf(k)
	return func(object any) (any, error) {
		if o, ok := object.(*unstructured.Unstructured); ok {
			t := newTarget(k, fields, o)
			t.carbon = triggers.read(k, o)
			return t, nil
		}
		return object, nil
	}
}

// keepScaler turns an object into a scaler. Of a scaler that cannot be read, which the schema
// prevents, it keeps the metadata.
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
func (c *Controller) allScalers() []*carbonaware.CarbonAwareKedaScaler {
	return asScalers(c.scalers.List())
}

// scalersOf returns the scalers that name a target.
func (c *Controller) scalersOf(r ref) []*carbonaware.CarbonAwareKedaScaler {
	return asScalers(c.scalers.Find(byTarget, r.String()))
}

func asScalers(objects []any) []*carbonaware.CarbonAwareKedaScaler {
	var scalers []*carbonaware.CarbonAwareKedaScaler
	for _, object := range objects {
		if s, ok := object.(*carbonaware.CarbonAwareKedaScaler); ok {
			scalers = append(scalers, s)
		}
	}
	return scalers
}

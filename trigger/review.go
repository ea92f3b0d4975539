package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/serving"
)

// ReviewPath is the path at which an Admission answers.
const ReviewPath = "/rewrite-triggers"

const (
	// maxTriggersBytes bounds the triggers of an object that are looked at. Some hundred fit. A hostile
	// list takes some thirty times as much memory when it is decoded.
	maxTriggersBytes = 128 << 10
	// maxTimeBytes bounds a text that is a time.
	maxTimeBytes = 64
)

// Levels know what CarbonPolicies say.
type Levels interface {
	// Level returns what a policy says at a location or in a region, and the source of the policy's
	// forecast. It asks the API server only for a policy that no cache has, and seldom. The error is a NotFound if
	// the policy does not exist.
	Level(ctx context.Context, policy, region string, now time.Time) (plan.Level, forecast.Source, error)
}

// Clock tells the time.
type Clock interface{ Now() time.Time }

// Admission replaces the triggers of the type carbon-intensity in the ScaledObjects and ScaledJobs that
// somebody creates or updates, and refuses triggers that cannot be used. All fields are required.
type Admission struct {
	Form   Form
	Levels Levels
	Clock  Clock
	// IsTrusted reports whether KEDA trusts the scaler. Until then, nothing is replaced, and the controller does so later.
	// It may be nil.
	IsTrusted func() bool
}

// Handle answers for one object. What Handle cannot read passes unchanged: the API server checks the
// schema, and the controller looks at each object, too.
func (a Admission) Handle(ctx context.Context, req serving.Review) *admissionv1.AdmissionResponse {
	passed := &admissionv1.AdmissionResponse{Allowed: true}
	if !isReviewed(req) {
		return passed
	}
	object, err := readObject(req.Object)
	if err != nil {
		if tooLarge := (*serving.TooLargeError)(nil); errors.As(err, &tooLarge) {
			passed.Warnings = []string{"Gridlatch replaces no trigger now: " + tooLarge.Error()}
		}
		return passed
	}
	now := a.Clock.Now()
	if object.isLeftAlone(now) {
		return passed
	}
	path := field.NewPath("spec", "triggers")
	rewritten, isChanged, errs := a.Form.For(req.Kind.Kind).Rewrite(object.Scaling, path)
	if len(errs) == 0 {
		errs = a.checkPlace(ctx, object.Scaling, path, now)
	}
	if len(errs) > 0 {
		return req.Refuse(errs)
	}
	if isChanged && (a.IsTrusted == nil || a.IsTrusted()) {
		passed.Patch, passed.PatchType = patchOf(object.Triggers, rewritten), ptr.To(admissionv1.PatchTypeJSONPatch)
	}
	return passed
}

// isReviewed reports whether a review is of an object that may have a carbon trigger.
func isReviewed(req serving.Review) bool {
	return req.SubResource == "" && (req.Operation == admissionv1.Create || req.Operation == admissionv1.Update) &&
		req.Kind.Group == "keda.sh" && (req.Kind.Kind == "ScaledObject" || req.Kind.Kind == "ScaledJob")
}

// object is the part of an object of KEDA that decides on its triggers.
type object struct {
	Scaling
	released       string // until when nothing is replaced
	isBeingDeleted bool
}

// isLeftAlone reports whether nothing is replaced, and nothing refused. An object that is being deleted
// must not be refused: KEDA could not take its finalizer off.
func (o *object) isLeftAlone(now time.Time) bool {
	until, err := time.Parse(time.RFC3339, o.released)
	return o.isBeingDeleted || err == nil && now.Before(until)
}

// readObject reads the part that is needed, and skips the rest.
func readObject(raw []byte) (*object, error) {
	o, r := &object{}, serving.NewReader(raw)
	err := r.Fields("object", map[string]func() error{
		"metadata": func() error {
			return r.Fields("metadata", map[string]func() error{
				"deletionTimestamp": func() error {
					o.isBeingDeleted = r.PeekKind() == '"'
					return r.Skip()
				},
				"annotations": func() error {
					return r.Fields("metadata.annotations", map[string]func() error{
						v1alpha1.CeilingReleasedAnnotation: func() error { return o.readReleased(r) },
					})
				},
			})
		},
		"spec": func() error {
			return r.Fields("spec", map[string]func() error{
				"triggers": func() error { return r.Decode("spec.triggers", maxTriggersBytes, &o.Triggers) },
				"advanced": func() error {
					return r.Fields("spec.advanced", map[string]func() error{
						"scalingModifiers": func() error {
							return r.Fields("spec.advanced.scalingModifiers", map[string]func() error{"formula": func() error { return o.readFormula(r) }})
						},
					})
				},
			})
		},
	})
	return o, err
}

// readFormula notes whether there is a formula.
func (o *object) readFormula(r serving.Reader) error {
	isText := r.PeekKind() == '"'
	raw, err := r.Raw()
	o.HasFormula = isText && len(raw) > len(`""`)
	return err
}

// readReleased reads the annotation. A text that is too long is no time.
func (o *object) readReleased(r serving.Reader) (err error) {
	o.released, err = r.Text("metadata.annotations", maxTimeBytes)
	if tooLarge := (*serving.TooLargeError)(nil); errors.As(err, &tooLarge) {
		return nil
	}
	return err
}

// checkPlace returns an error if a carbon trigger names a policy or a region that does not exist. What
// is not known yet passes, and the controller tells of it later.
func (a Admission) checkPlace(ctx context.Context, s Scaling, path *field.Path, now time.Time) field.ErrorList {
	wish, ok, errs := a.Form.Find(s, path)
	if !ok || len(errs) > 0 {
		return errs
	}
	found, _ := a.Form.find(s.Triggers, path)
	path = found.path.Child(metadataKey)
	level, _, err := a.Levels.Level(ctx, wish.Policy, wish.Region, now)
	switch {
	case apierrors.IsNotFound(err):
		return field.ErrorList{field.Invalid(path.Child(policyKey), shown(wish.Policy), "want the name of a CarbonPolicy")}
	case err == nil && level.HasNoLocation:
		return field.ErrorList{field.Invalid(path.Child(regionKey), shown(wish.Region), level.UnknownReason)}
	}
	return nil
}

// operation is an operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patchOf returns the JSON patch that replaces each trigger that has changed, and nothing else.
func patchOf(before, after []any) []byte {
	var patch []operation
	for i := range after {
		if !reflect.DeepEqual(before[i], after[i]) {
			patch = append(patch, operation{"replace", fmt.Sprintf("/spec/triggers/%d", i), after[i]})
		}
	}
	raw, _ := json.Marshal(patch) // of what was JSON: no error is possible
	return raw
}

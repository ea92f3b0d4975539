package webhook

import (
	"context"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

// Path is where the webhook answers.
const Path = "/hold"

// Webhook decides on pods and Jobs at their creation. All fields but Unable and
// Mark are required.
type Webhook struct {
	// Reader reads the caches that gating.CacheByObject describes.
	Reader client.Reader
	// Records knows the Jobs that were decided on.
	Records  *gating.Records
	Policies policy.Policies
	Store    *forecast.Store
	// Runs knows how long work runs that does not say.
	Runs    *gating.Runs
	Clock   policy.Clock
	Metrics *Metrics
	// Unable says why what is held in a namespace could not be let go, so that no
	// more is to be held there; empty if it can be. Nil is never.
	Unable func(namespace string) string
	// Mark has pods that may wait carry the extended resource by which the
	// scheduler knows that the extender is to be asked about them.
	Mark bool
}

// Handle decides on one object.
func (w *Webhook) Handle(ctx context.Context, req serving.Review) *admissionv1.AdmissionResponse {
	if req.Operation != admissionv1.Create || req.SubResource != "" {
		return verdict{}.response(req)
	}
	var v verdict
	var err error
	switch req.Kind.Kind {
	case "Pod":
		v, err = w.onPod(ctx, req)
	case "Job":
		v, err = w.onJob(ctx, req)
	default:
		return verdict{}.response(req)
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot decide, letting it pass", "kind", req.Kind.Kind, "namespace", req.Namespace)
		v = verdict{outcome: failed, warnings: []string{"gridlatch could not decide on this " + req.Kind.Kind + ", it is not held"}}
	}
	w.Metrics.decided(req.Kind.Kind, v.outcome)
	return v.response(req)
}

// unable says why work that had better wait is not held in a namespace; empty if
// it is.
func (w *Webhook) unable(namespace string) string {
	if w.Unable == nil {
		return ""
	}
	return w.Unable(namespace)
}

// warned is a verdict with a warning.
func (v verdict) warned(why string) verdict {
	v.warnings = append(v.warnings, why)
	return v
}

// verdict is what is decided on one object. With errs it is refused.
type verdict struct {
	outcome outcome
	errs    field.ErrorList
	// noted says that labels and annotations have been written to.
	noted    bool
	patch    patch
	warnings []string
}

// warn adds warnings.
func (v verdict) warn(warnings ...string) verdict {
	v.warnings = append(v.warnings, warnings...)
	return v
}

// notHeld begins what is said of work that asked to be held and cannot be.
const notHeld = "not held: "

// mark notes on work that it asked to be held and cannot be.
func (v verdict) mark(annotations map[string]string) verdict {
	annotations[v1alpha1.OutcomeAnnotation] = v1alpha1.OutcomeNotHeld
	return v
}

func (v verdict) response(req serving.Review) *admissionv1.AdmissionResponse {
	if len(v.errs) > 0 {
		return refuse(req, v.errs)
	}
	response := &admissionv1.AdmissionResponse{Allowed: true, Warnings: v.warnings}
	if len(v.patch) > 0 {
		response.Patch, response.PatchType = v.patch.json(), ptr.To(admissionv1.PatchTypeJSONPatch)
	}
	return response
}

// refuse answers as the API server itself would for an invalid object.
func refuse(req serving.Review, errs field.ErrorList) *admissionv1.AdmissionResponse {
	status := apierrors.NewInvalid(schema.GroupKind{Group: req.Kind.Group, Kind: req.Kind.Kind}, req.Name, errs).Status()
	status.Code = http.StatusUnprocessableEntity
	return &admissionv1.AdmissionResponse{Result: &status}
}

// choice is the policy for an ask, or why there is none: the ask is refused for
// errs, or the work is let go with a warning.
type choice struct {
	policy  *policy.Policy
	errs    field.ErrorList
	warning string
	// notHeld says that the work asked to be held and cannot be.
	notHeld bool
}

// without is the verdict where there is no policy; start makes that of work
// that is let go, whose annotations these are.
func (c choice) without(annotations map[string]string, start func(why string) verdict) verdict {
	if len(c.errs) > 0 {
		return verdict{outcome: refused, errs: c.errs}
	}
	v := start(c.warning)
	if c.notHeld {
		v = v.mark(annotations)
	}
	return v.warn(c.warning)
}

// blame refuses an object for what is wrong with it. What a controller has created
// is let go: whoever made that would not see why nothing runs, and may not have
// made it wrong.
func blame(object metav1.Object, errs field.ErrorList) choice {
	if metav1.GetControllerOfNoCopy(object) != nil {
		return choice{warning: notHeld + errs.ToAggregate().Error(), notHeld: true}
	}
	return choice{errs: errs}
}

// choose finds the policy for an object.
func (w *Webhook) choose(ctx context.Context, ask policy.Ask, object metav1.Object, namespace string, path *field.Path) (choice, error) {
	c, err := w.find(ctx, ask, namespace, path)
	if len(c.errs) > 0 {
		c = blame(object, c.errs)
	}
	return c, err
}

// find finds the policy: the one asked for, else the namespace's, else the
// default. A name in the ask that is not known is the user's mistake; one on
// the namespace is not.
func (w *Webhook) find(ctx context.Context, ask policy.Ask, namespace string, path *field.Path) (choice, error) {
	name, asked := ask.Policy, ask.Policy != ""
	if !asked {
		name = policy.NamespacePolicy(ctx, w.Reader, namespace)
	}
	rules, err := w.Policies.Get(ctx, name)
	switch {
	case apierrors.IsNotFound(err) && asked:
		return choice{errs: field.ErrorList{field.Invalid(path.Key(v1alpha1.PolicyAnnotation), name, w.wantPolicy(ctx))}}, nil
	case apierrors.IsNotFound(err):
		return choice{warning: fmt.Sprintf("not held: CarbonPolicy %s, which namespace %s names, does not exist", name, namespace)}, nil
	case err != nil:
		return choice{}, err
	}
	if ask.Location != "" {
		if err := rules.CheckLocation(w.Store.Snapshot(rules.Source), ask.Location); err != nil {
			return choice{errs: field.ErrorList{field.Invalid(path.Key(v1alpha1.LocationAnnotation), ask.Location, err.Error())}}, nil
		}
	}
	return choice{policy: rules}, nil
}

// wantPolicy says which policies there are.
func (w *Webhook) wantPolicy(ctx context.Context) string {
	want := "want the name of a CarbonPolicy"
	policies, err := w.Policies.List(ctx)
	if err != nil {
		return want
	}
	separator := ": "
	for _, p := range policies {
		want += separator + p.Name
		separator = ", "
	}
	return want
}

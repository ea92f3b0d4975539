package webhook

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// Path is the path of the webhook's URL.
const Path = "/hold"

// Webhook decides on pods, Jobs and objects of the kinds with a door at their creation, and advises on
// CronJobs. All fields but WhyUnable and MarkForExtender are required.
type Webhook struct {
	// Reader reads the cache that package policy/cached describes.
	Reader client.Reader
	// Records knows the work that was decided on, and what can be held whole.
	Records  *gating.Records
	Policies policy.Policies
	Store    *forecast.Store
	// Runs knows how long work runs that asks for no duration.
	Runs    *gating.Runs
	Clock   policy.Clock
	Metrics *Metrics
	// WhyUnable says why held work in a namespace could not be released that needs a component. The
	// component is empty for pods and Jobs. The webhook then holds no such work. The reason is empty if
	// a release is possible. Without WhyUnable a release is always possible.
	WhyUnable func(namespace, component string) string
	// MarkForExtender gives pods that may wait the extended resource by which kube-scheduler knows
	// that the extender must be asked about them.
	MarkForExtender bool

	// extent says what is audited for the sake of its namespace.
	extent extent
	// isImagining says that the object is a copy, of which only the notes of the decision are kept.
	isImagining bool
}

// Handle decides on one object.
func (w *Webhook) Handle(ctx context.Context, req serving.Review) *admissionv1.AdmissionResponse {
	if req.Kind.Kind == "CronJob" {
		return verdict{}.warn(w.adviseOnCronJob(ctx, req)...).response(req)
	}
	if req.Operation != admissionv1.Create || req.SubResource != "" {
		return verdict{}.response(req)
	}
	var v verdict
	var err error
	switch req.Kind.Kind {
	case "Pod":
		v, err = w.admitPod(ctx, req)
	case "Job":
		v, err = w.admitJob(ctx, req)
	default:
		d := doorOf(req)
		if d == nil {
			return verdict{}.response(req)
		}
		v, err = w.admitWhole(ctx, req, d)
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot decide on an object, which passes unchanged", "kind", req.Kind.Kind, "namespace", req.Namespace)
		v = verdict{outcome: failed, warnings: []string{"Gridlatch could not decide on this " + req.Kind.Kind + ", which is not held"}}
	}
	w.Metrics.decided(req.Kind.Kind, v.outcome)
	return v.response(req)
}

// whyUnable says why pods and Jobs in a namespace are not held although waiting pays. The reason is
// empty if the work can be held.
func (w *Webhook) whyUnable(namespace string) string { return w.whyUnableWith(namespace, "") }

func (w *Webhook) whyUnableWith(namespace, component string) string {
	if w.WhyUnable == nil {
		return ""
	}
	return w.WhyUnable(namespace, component)
}

// verdict is the decision on one object. With errs, the object is refused.
type verdict struct {
	outcome outcome
	errs    field.ErrorList
	// changesMetadata says that labels or annotations have changed.
	changesMetadata bool
	patch           patch
	warnings        []string
	// auditNotes are the annotations of the work if it is audited. They are nil if no start was planned.
	auditNotes map[string]string
}

// warn adds warnings.
func (v verdict) warn(warnings ...string) verdict {
	v.warnings = append(v.warnings, warnings...)
	return v
}

// notHeld begins the reason of work that asked to be held and cannot be held.
const notHeld = "not held: "

// asNotHeld writes on work that the work asked to be held and cannot be held.
func (v verdict) asNotHeld(annotations map[string]string) verdict {
	annotations[v1alpha1.OutcomeAnnotation] = v1alpha1.OutcomeNotHeld
	return v
}

func (v verdict) response(req serving.Review) *admissionv1.AdmissionResponse {
	if len(v.errs) > 0 {
		return req.Refuse(v.errs)
	}
	response := &admissionv1.AdmissionResponse{Allowed: true, Warnings: v.warnings}
	if len(v.patch) > 0 {
		response.Patch, response.PatchType = v.patch.json(), ptr.To(admissionv1.PatchTypeJSONPatch)
	}
	return response
}

// choice is the policy for an ask. Without a policy, the object is refused with errs, or the work
// starts with a warning.
type choice struct {
	policy  *policy.Policy
	errs    field.ErrorList
	warning string
	// notHeld says that the work asked to be held and cannot be held.
	notHeld bool
}

// verdict returns the verdict on an object without a policy. start lets the work start, and
// annotations are those of the work.
func (c choice) verdict(annotations map[string]string, start func(why string) verdict) verdict {
	if len(c.errs) > 0 {
		return verdict{outcome: refused, errs: c.errs}
	}
	v := start(c.warning)
	if c.notHeld {
		v = v.asNotHeld(annotations)
	}
	return v.warn(c.warning)
}

// refuseOrStart refuses an object with mistakes. An object of a controller is not refused, but
// starts: its user would not see why nothing runs, and may not have made the mistake.
func refuseOrStart(object metav1.Object, errs field.ErrorList) choice {
	if metav1.GetControllerOfNoCopy(object) != nil {
		return choice{warning: notHeld + errs.ToAggregate().Error(), notHeld: true}
	}
	return choice{errs: errs}
}

// choosePolicy finds the policy for an object.
func (w *Webhook) choosePolicy(ctx context.Context, ask policy.Ask, object metav1.Object, namespace string, path *field.Path) (choice, error) {
	c, err := w.findPolicy(ctx, ask, namespace, path)
	if len(c.errs) > 0 {
		c = refuseOrStart(object, c.errs)
	}
	return c, err
}

// findPolicy finds the policy that the ask names, or else the policy that the namespace names, or
// else the default policy. A policy in the ask that does not exist is a mistake of the user. A
// policy on the namespace that does not exist is not.
func (w *Webhook) findPolicy(ctx context.Context, ask policy.Ask, namespace string, path *field.Path) (choice, error) {
	if _, err := policy.IsAuditedNamespace(ctx, w.Reader, namespace); err != nil { // whatever it means, it is not to wait
		return choice{warning: fmt.Sprintf("%snamespace %s: %v", notHeld, namespace, err), notHeld: true}, nil
	}
	name, asked := ask.Policy, ask.Policy != ""
	if !asked {
		name = policy.NamespacePolicy(ctx, w.Reader, namespace)
	}
	rules, err := w.Policies.Get(ctx, name)
	switch {
	case apierrors.IsNotFound(err) && asked:
		return choice{errs: field.ErrorList{field.Invalid(path.Key(v1alpha1.PolicyAnnotation), name, w.wantPolicy(ctx))}}, nil
	case apierrors.IsNotFound(err):
		return choice{warning: fmt.Sprintf("%sCarbonPolicy %s, which namespace %s names, does not exist", notHeld, name, namespace), notHeld: true}, nil
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

// wantPolicy says which policies exist.
func (w *Webhook) wantPolicy(ctx context.Context) string {
	want := "want the name of a CarbonPolicy"
	policies, err := w.Policies.WithoutSites().List(ctx)
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

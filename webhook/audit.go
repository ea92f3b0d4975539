package webhook

import (
	"context"
	"maps"

	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

// These are the paths of the webhook's URLs for the namespaces whose work is audited. The API server
// chooses the path by the label of the namespace.
const (
	// AuditPath is for work that asks to wait.
	AuditPath = "/audit"
	// AuditAllPath is for work that does not ask to wait.
	AuditAllPath = "/audit/all"
)

// extent says which work of a request is audited for the sake of its namespace.
type extent int

const (
	// noneButLabelled is for requests at Path. Nothing is audited for the sake of its namespace, unless
	// the namespace has got the label a moment ago, and the cache knows.
	noneButLabelled extent = iota
	asking
	all
)

// Audit decides on an object of a namespace of which all work that asks to wait is audited.
func (w *Webhook) Audit(ctx context.Context, req serving.Review) *admissionv1.AdmissionResponse {
	return w.auditing(asking).Handle(ctx, req)
}

// AuditAll decides on an object of a namespace of which all work is audited.
func (w *Webhook) AuditAll(ctx context.Context, req serving.Review) *admissionv1.AdmissionResponse {
	return w.auditing(all).Handle(ctx, req)
}

func (w *Webhook) auditing(e extent) *Webhook {
	auditor := *w
	auditor.extent = e
	return &auditor
}

// imagining returns a webhook that decides as if nothing was audited. The decisions are made on copies,
// and only the notes of a decision are kept.
func (w *Webhook) imagining() *Webhook {
	imagining := *w
	imagining.isImagining, imagining.WhyUnable, imagining.MarkForExtender = true, nil, false
	return &imagining
}

// isAudited reports whether an object of a namespace is audited. asked is what the object asks for, and
// isWork says that the object is a piece of work that ends by itself, if the object does not ask.
func (w *Webhook) isAudited(ctx context.Context, namespace string, o metav1.Object, asked map[string]string, isWork bool) bool {
	wish, isSaid := asked[v1alpha1.DelayTolerantAnnotation]
	switch asks := isSaid && wish != "false"; {
	case w.isImagining:
		return false
	case !asks: // who says no is not asked again
		return w.extent == all && !isSaid && isWork
	case w.extent != noneButLabelled:
		return true
	}
	if _, isOfAudited := w.Records.IsJobAudited(namespace, o); isOfAudited {
		return true
	}
	if audits, _ := policy.IsAuditedNamespace(ctx, w.Reader, namespace); audits {
		return true
	}
	name := asked[v1alpha1.PolicyAnnotation]
	if name == "" {
		name = policy.NamespacePolicy(ctx, w.Reader, namespace)
	}
	return w.Policies.IsAudit(ctx, name)
}

// asAudited returns the verdict on audited work. It is given the verdict on the same work if the work did
// not ask to wait, which only removes what is Gridlatch's. It adds the label, and those of the notes that
// audited work has. Nothing else is done to audited work: nothing is held, changed or refused.
func (v verdict) asAudited(o *metav1.ObjectMeta, came *meta, notes map[string]string) verdict {
	before := maps.Clone(o.Annotations)
	for _, key := range auditKeys() {
		if value, ok := notes[key]; ok {
			o.Annotations[key] = value
		}
	}
	if !came.annotations.fits(o.Annotations, 0) {
		o.Annotations = before
	}
	o.Labels[v1alpha1.StateLabel] = v1alpha1.StateAudited
	v.outcome, v.changesMetadata = audited, true
	return v
}

// auditKeys returns the annotations of audited work.
func auditKeys() []string {
	return []string{
		v1alpha1.PolicyAnnotation, v1alpha1.ReasonAnnotation, v1alpha1.PlannedStartAnnotation, v1alpha1.LatestStartAnnotation,
		v1alpha1.NextRunAnnotation, v1alpha1.IntensityAtCreationAnnotation, v1alpha1.PlannedLocationAnnotation,
	}
}

// note notes the decision for the case that the object is audited.
func (w *Webhook) note(v verdict, rules *policy.Policy, d plan.Decision) verdict {
	if w.isImagining {
		v.auditNotes = rules.AuditNotes(d)
	}
	return v
}

// notesOf returns the notes of a verdict that was imagined on a copy with these annotations.
func (v verdict) notesOf(annotations map[string]string) map[string]string {
	if v.auditNotes != nil {
		return v.auditNotes
	}
	notes := map[string]string{v1alpha1.ReasonAnnotation: auditReason(annotations[v1alpha1.ReasonAnnotation])}
	if len(v.errs) > 0 {
		notes[v1alpha1.ReasonAnnotation] = auditReason(notHeld + v.errs.ToAggregate().Error())
	}
	if name, ok := annotations[v1alpha1.PolicyAnnotation]; ok && len(v.errs) == 0 {
		notes[v1alpha1.PolicyAnnotation] = name
	}
	return notes
}

// auditReason returns the reason of audited work about which no start was planned.
func auditReason(why string) string {
	if why == "" {
		why = "it was not held"
	}
	return plan.Truncate("audit: " + why)
}

// mistakes returns a warning for each mistake for which the object would be refused if it was not
// audited.
func (v verdict) mistakes() []string {
	var warnings []string
	for _, err := range v.errs {
		warnings = append(warnings, "the work is audited, and would be refused otherwise: "+err.Error())
	}
	return warnings
}

// askToWait gives a copy of an object that does not ask the wish to wait.
func askToWait(o metav1.Object, asks bool) {
	if !asks {
		o.GetAnnotations()[v1alpha1.DelayTolerantAnnotation] = "true"
	}
}

// isPodAudited reports whether a pod is audited. A pod that does not ask is audited unless it is made to
// run for good, or belongs to a Job, which has the decision.
func (w *Webhook) isPodAudited(ctx context.Context, req serving.Review, pod *corev1.Pod) bool {
	ends := pod.Spec.RestartPolicy == corev1.RestartPolicyNever || pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure
	return w.isAudited(ctx, req.Namespace, pod, policy.PodAskAnnotations(pod), ends && hold.OwningJob(pod) == nil)
}

// auditPod decides on a pod that is audited. A pod of a Job has the notes of the Job.
func (w *Webhook) auditPod(ctx context.Context, req serving.Review, came *decodedPod) (verdict, error) {
	notes, mistakes, err := w.imaginePod(ctx, req, &came.Pod)
	if err != nil {
		return verdict{}, err
	}
	return stripPod(&came.Pod).asAudited(&came.ObjectMeta, &came.original, notes).warn(mistakes...), nil
}

// imaginePod returns the notes on a pod, and a warning for each of its mistakes.
func (w *Webhook) imaginePod(ctx context.Context, req serving.Review, pod *corev1.Pod) (notes map[string]string, mistakes []string, err error) {
	if hold.OwningJob(pod) != nil {
		if notes, ok := w.Records.IsJobAudited(req.Namespace, pod); ok {
			return notes, nil, nil
		}
		return map[string]string{v1alpha1.ReasonAnnotation: auditReason("it started with its Job, which says more")}, nil, nil
	}
	imagined, err := readPod(req.Object)
	if err != nil {
		return nil, nil, err
	}
	imagined.CreationTimestamp = pod.CreationTimestamp
	hold.ForgetKueueGate(imagined.Annotations)
	askToWait(imagined, wantToWait(imagined))
	v, err := w.imagining().holdOrStart(ctx, req, imagined)
	return v.notesOf(imagined.Annotations), v.mistakes(), err
}

// isJobAudited reports whether a Job is audited. The CronJob of the Job may be nil.
func (w *Webhook) isJobAudited(ctx context.Context, req serving.Review, job *batchv1.Job, cronJob *batchv1.CronJob) bool {
	asked := policy.RunAskAnnotations(job, cronJob)
	if wantToWait(job, &job.Spec.Template) { // either of the two is enough
		asked[v1alpha1.DelayTolerantAnnotation] = "true"
	}
	return w.isAudited(ctx, req.Namespace, job, asked, true)
}

// auditJob decides on a Job that is audited. Its pod template stays as it is, but for what is
// Gridlatch's.
func (w *Webhook) auditJob(ctx context.Context, req serving.Review, came *decodedJob) (verdict, error) {
	imagined, err := readJob(req.Object)
	if err != nil {
		return verdict{}, err
	}
	forgetMarks(imagined)
	imagined.CreationTimestamp = came.CreationTimestamp
	cronJob := policy.CronJobOf(ctx, w.Reader, req.Namespace, &imagined.Job)
	wish := policy.RunAskAnnotations(&imagined.Job, cronJob)[v1alpha1.DelayTolerantAnnotation]
	askToWait(imagined, wish != "" || wantToWait(imagined, &imagined.Spec.Template))
	v, err := w.imagining().askAndDecideJob(ctx, req, imagined)
	if err != nil {
		return verdict{}, err
	}
	notes := v.notesOf(imagined.Annotations)
	return stripJob(&came.Job).asAudited(&came.ObjectMeta, &came.original, notes).warn(v.mistakes()...), nil
}

// isWholeAudited reports whether an object of a kind with a door is audited.
func (w *Webhook) isWholeAudited(ctx context.Context, req serving.Review, o *decodedWhole) bool {
	return w.isAudited(ctx, req.Namespace, o, policy.AskAnnotations(o), true)
}

// auditWhole decides on an object of a kind with a door that is audited.
func (w *Webhook) auditWhole(ctx context.Context, req serving.Review, came *decodedWhole) (verdict, error) {
	imagined, err := readWhole(req.Object, came.door)
	if err != nil {
		return verdict{}, err
	}
	imagined.mark = forgetMark(&imagined.ObjectMeta, &imagined.original, came.door.IsClosed(imagined.content))
	imagined.CreationTimestamp = came.CreationTimestamp
	askToWait(imagined, wantToWait(imagined))
	v, err := w.imagining().decideWhole(ctx, req, imagined)
	if err != nil {
		return verdict{}, err
	}
	notes := v.notesOf(imagined.Annotations)
	return stripWhole(came).asAudited(&came.ObjectMeta, &came.original, notes).warn(v.mistakes()...), nil
}

// stripWhole removes what only Gridlatch writes from an object of a kind with a door.
func stripWhole(o *decodedWhole) verdict {
	stripMetadata(&o.ObjectMeta)
	return verdict{outcome: stripped, changesMetadata: true}
}

package webhook

import (
	"context"
	"fmt"
	"maps"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/json"

	"github.com/gridlatch/gridlatch/gating"
)

// kueueQueue is the label by which Kueue knows a Job as its own.
const kueueQueue = "kueue.x-k8s.io/queue-name"

// onJob decides on a Job. What its pod template asks for holds too, where the
// Job itself says nothing else.
func (w *Webhook) onJob(ctx context.Context, req admission.Request) (verdict, error) {
	var job batchv1.Job
	if err := json.UnmarshalCaseSensitivePreserveInts(req.Object.Raw, &job); err != nil {
		return verdict{}, fmt.Errorf("decode job: %w", err)
	}
	template := &job.Spec.Template
	for _, meta := range []*metav1.ObjectMeta{&job.ObjectMeta, &template.ObjectMeta} {
		own(meta)
		gating.Forget(meta.Annotations) // it may be a copy of another
	}
	job.CreationTimestamp = metav1.NewTime(w.Clock.Now())
	path := field.NewPath("metadata", "annotations")
	_, errs := gating.ParseAsk(job.Annotations, job.CreationTimestamp.Time, path)
	_, more := gating.ParseAsk(template.Annotations, job.CreationTimestamp.Time, field.NewPath("spec", "template").Child("metadata", "annotations"))
	if errs = append(errs, more...); len(errs) > 0 {
		return verdict{outcome: refused, errs: errs}, nil
	}
	asked := gating.JobAsk(template.Annotations, job.Annotations)
	ask, _ := gating.ParseAsk(asked, job.CreationTimestamp.Time, path) // its parts have been checked
	if why := leaveJobAlone(&job, ask); why != "" {
		return startJob(&job, why), nil
	}
	chosen, err := w.choose(ctx, ask, &job, req.Namespace, path)
	if err != nil {
		return verdict{}, err
	}
	if chosen.policy == nil {
		return chosen.without(func(why string) verdict { return startJob(&job, why) }), nil
	}
	return w.holdJob(req, &job, chosen.policy, ask, asked), nil
}

// leaveJobAlone says why a Job is not held whatever the grid does.
func leaveJobAlone(job *batchv1.Job, ask gating.Ask) string {
	manager := job.Spec.ManagedBy
	switch {
	case !ask.Wanted:
		return "not held: it does not ask for it"
	case manager != nil && *manager != batchv1.JobControllerName:
		return "not held: it is managed by " + *manager
	case job.Labels[kueueQueue] != "":
		return "not held: it is queued by Kueue"
	case job.Spec.ActiveDeadlineSeconds != nil || job.Spec.Template.Spec.ActiveDeadlineSeconds != nil:
		return "not held: its activeDeadlineSeconds would run while it waits"
	default:
		return ""
	}
}

// holdJob records on a Job that it is held, if it is better to wait, and in
// its template what its pods must know. The gate is put on the pods as they
// come (see package gating).
func (w *Webhook) holdJob(req admission.Request, job *batchv1.Job, policy *gating.Policy, ask gating.Ask, asked map[string]string) verdict {
	now := job.CreationTimestamp.Time
	task := policy.Task(ask, now)
	task.ID = gating.TaskID(job, req.UID) // it has no UID of its own yet
	decision := policy.Outlook(w.Store.Book(policy.Source), ask.Location, now, task.LatestStart).Decide(task)
	if !decision.Holds() {
		return startJob(job, decision.Reason())
	}
	notes := gating.Notes(policy, decision)
	maps.Copy(job.Annotations, asked)
	maps.Copy(job.Annotations, notes)
	job.Labels[gating.State] = gating.StateHeld
	maps.Copy(job.Spec.Template.Annotations, gating.Promise(asked, notes))
	delete(job.Spec.Template.Labels, gating.State)
	return verdict{outcome: held, patch: jobPatch(job)}
}

// startJob lets a Job start at once, and its pods with it whenever they come.
func startJob(job *batchv1.Job, why string) verdict {
	job.Annotations[gating.Reason] = why
	job.Labels[gating.State] = gating.StateReleased
	job.Spec.Template.Labels[gating.State] = gating.StateReleased
	return verdict{outcome: started, patch: jobPatch(job)}
}

func jobPatch(job *batchv1.Job) patch {
	template := job.Spec.Template
	p := metaPatch(job.ObjectMeta).set("/spec/template/metadata", template.ObjectMeta)
	if gating.HasGate(template.Spec.SchedulingGates) {
		others := slices.DeleteFunc(slices.Clone(template.Spec.SchedulingGates), func(g corev1.PodSchedulingGate) bool { return g.Name == gating.Gate })
		p = p.set("/spec/template/spec/schedulingGates", others)
	}
	return p
}

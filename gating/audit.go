package gating

import (
	"context"
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// auditingPolicy returns the policy that has audited an object; none if the object was not audited.
func auditingPolicy(r *record) []string { return policyNames(r, isAudited(r)) }

func isAudited(r *record) bool { return r.Labels[v1alpha1.StateLabel] == v1alpha1.StateAudited }

// IsJobAudited reports whether the Job that owns a pod of a namespace is audited, by what the cache
// knows. The annotations are those of the Job, which belong to the cache.
func (r *Records) IsJobAudited(namespace string, pod metav1.Object) (annotations map[string]string, audited bool) {
	job := r.owningJob(namespace, pod)
	if job == nil || !isAudited(job) {
		return nil, false
	}
	return job.Annotations, true
}

// audited counts the work that a policy has audited, and that would still be held if it had not been
// audited. next is when the first of this work would have started; zero if there is none.
func (r *Records) audited(name string, now time.Time) (would v1alpha1.HeldStatus, next time.Time, err error) {
	owners, err := r.listOwners(auditedIndex, name)
	if err != nil {
		return would, next, err
	}
	pods, err := r.pods.list(auditedIndex, name)
	if err != nil {
		return would, next, err
	}
	count := func(o *record, pods int32) {
		planned, err := time.Parse(time.RFC3339, o.Annotations[v1alpha1.PlannedStartAnnotation])
		if err != nil || !planned.After(now) {
			return
		}
		would.Groups++
		would.Pods = int32(min(int64(would.Pods)+int64(pods), math.MaxInt32))
		if next.IsZero() || planned.Before(next) {
			next = planned
		}
	}
	for _, owner := range owners {
		if owner.podsToRun > 0 && !owner.isOver {
			count(owner, owner.podsToRun)
		}
	}
	for _, pod := range pods {
		if hold.OwningJob(pod) == nil { // else the Job counts
			count(pod, 1)
		}
	}
	return would, next, nil
}

// noteAudited notes what the policy of a pass has audited, and that the status changes when the first of
// this work would have started.
func (l *Loop) noteAudited(p *pass) error {
	would, next, err := l.Records.audited(p.policy.Name, p.now)
	if err != nil {
		return err
	}
	if would.Groups > 0 {
		p.audited = &would
		p.changesAt = append(p.changesAt, next)
	}
	l.Metrics.auditedPods.WithLabelValues(p.policy.Name).Set(float64(would.Pods))
	return nil
}

// makeAuditedDue makes due what is held although its policy, or its namespace, is audited now. Work that
// waits for its user to resume it is recorded as released, too.
func (l *Loop) makeAuditedDue(ctx context.Context, p *pass) {
	isAudited := map[string]bool{} // by namespace
	for _, g := range p.groups {
		if g.isDue() {
			continue
		}
		namespace := g.head().Namespace
		audits, known := isAudited[namespace]
		if !known {
			audits, _ = policy.IsAuditedNamespace(ctx, l.Policies.Reader, namespace) // the webhook tells of a bad label
			isAudited[namespace] = audits
		}
		if !audits && !p.policy.IsAudit() {
			continue
		}
		g.waitsForUser, g.decision = false, g.decision.EndHold()
		if g.location != "" {
			g.location = g.decision.Location
		}
	}
}

// onNamespace requests a pass of all policies once the work of a namespace is audited, or is not audited
// any more.
func (l *Loop) onNamespace() handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request] {
	return handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request]{
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*metav1.PartialObjectMetadata], q queue) {
			if e.ObjectOld.Labels[v1alpha1.AuditLabel] == e.ObjectNew.Labels[v1alpha1.AuditLabel] {
				return
			}
			q.AddAfter(request(strayWork), l.gatherTime())
			l.enqueueThose(ctx, func(*policy.Policy) bool { return true }, func(r reconcile.Request) { q.AddAfter(r, l.gatherTime()) })
		},
	}
}

// enqueueAuditing requests a pass of the policies that have audited an object, whose status counts the
// object.
func (l *Loop) enqueueAuditing(ctx context.Context, o *record, q queue) {
	for _, policy := range auditingPolicy(o) {
		if l.Policies.Exists(ctx, policy) {
			q.AddAfter(request(policy), l.gatherTime())
		}
	}
}

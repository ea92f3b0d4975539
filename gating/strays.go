package gating

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/gridlatch/gridlatch/policy"
)

// strayWork stands for all work that names a policy which does not exist: the policy was deleted,
// or somebody has made up its name. Whatever the names are, they are one request, one pass and one
// label of the metrics, so that names cost nothing. No policy has an empty name.
const strayWork = ""

// policyAndNames returns the policy of a request, and the names by which work says that this policy
// holds it. The error is a NotFound if the policy does not exist. Its work belongs to strayWork
// then.
func (l *Loop) policyAndNames(ctx context.Context, name string) (*policy.Policy, []string, error) {
	if name == strayWork {
		return policy.Abandoned(), l.Records.policyNamesThat(func(name string) bool { return !l.Policies.Exists(ctx, name) }), nil
	}
	rules, err := l.Policies.Get(ctx, name)
	return rules, []string{name}, err
}

// policyNamesThat returns the isWanted names of policies that hold something.
func (r *Records) policyNamesThat(isWanted func(name string) bool) []string {
	names := append(r.pods.ListIndexFuncValues(heldIndex), r.jobs.ListIndexFuncValues(heldIndex)...)
	for _, w := range r.wholes {
		names = append(names, w.Indexer().ListIndexFuncValues(heldIndex)...)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return !isWanted(name) })
}

// enqueuePolicies requests a pass of the policies that hold an object.
func (l *Loop) enqueuePolicies(ctx context.Context, o *record, q queue) {
	for _, policy := range holdingPolicy(o) {
		if !l.Policies.Exists(ctx, policy) {
			policy = strayWork
		}
		q.AddAfter(request(policy), l.gatherTime())
	}
}

// onDeleted requests a pass of strayWork, which now has what the deleted policy held.
func (l *Loop) onDeleted() handler.EventHandler {
	return handler.Funcs{
		DeleteFunc: func(_ context.Context, _ event.DeleteEvent, q queue) { q.AddAfter(request(strayWork), l.gatherTime()) },
	}
}

// forget drops all that is known of a policy that does not exist.
func (l *Loop) forget(policy string) {
	l.inFlight.handOver(policy)
	l.refusals.handOver(policy)
	l.unexplained.handOver(policy)
	l.limitedPolicies.Delete(policy)
	l.explainedUpTo.Delete(policy)
	l.withoutWorkload.Delete(policy)
	l.Metrics.forget(policy)
}

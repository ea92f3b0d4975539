package extender

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

// Placing returns what the placement of a pod depends on, by policies and forecasts. The policies
// do not need the nodes: only plans need nodes, and to look for them takes longer than an answer
// may. Both fields are required.
type Placing struct {
	Policies policy.Policies
	Store    *forecast.Store
}

// Terms returns what the placement of a pod depends on at a moment. The prediction is the one with
// which the start of the pod was planned. The placement of an audited pod depends on nothing. The
// error is [ErrNoPolicy] if the policy does not exist.
func (p Placing) Terms(ctx context.Context, pod *metav1.PartialObjectMetadata, now time.Time) (Terms, error) {
	name := pod.Annotations[v1alpha1.PolicyAnnotation]
	if name == "" {
		name = policy.NamespacePolicy(ctx, p.Policies.Reader, pod.Namespace)
	}
	rules, err := p.Policies.Get(ctx, name)
	if err != nil {
		if apierrors.IsNotFound(err) {
			err = errors.Join(ErrNoPolicy, err)
		}
		return Terms{Policy: name}, err
	}
	if audited, _ := policy.IsAuditedNamespace(ctx, p.Policies.Reader, pod.Namespace); audited || rules.IsAudit() {
		return Terms{}, nil // no node is better than another, or worse
	}
	task := rules.TaskOf(pod)
	terms := Terms{
		Policy: rules.Name, Buckets: rules.Buckets(), Duration: task.Duration,
		Home: rules.HomeOf(pod), Strict: policy.IsStrict(pod, task, now),
	}
	snapshot := p.Store.Snapshot(rules.Source)
	var compared *forecast.Signal // the one of the first location that is known
	for _, l := range rules.GridLocations() {
		expected, f := rules.Predict(snapshot, l.Name, now)
		location := Location{Name: l.Name, NodeSelector: l.NodeSelector}
		if compared == nil && !expected.Series.IsEmpty() {
			compared = &f.Details.Origin.Signal
		}
		if compared != nil && f.Details.Origin.Signal == *compared { // intensities of two signals are not comparable
			location.Expected = expected.Series
		}
		terms.Locations = append(terms.Locations, location)
	}
	return terms, nil
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/extender"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
)

// extend answers kube-scheduler, in every replica.
func extend(ctx context.Context, mgr ctrl.Manager, o *options, secure *tls.Config, p placing) error {
	nodes := &extender.Nodes{}
	informer, err := mgr.GetCache().GetInformer(ctx, gating.NodeMetadata(), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	if _, err := informer.AddEventHandler(nodes); err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	if err := forgetDeleted(ctx, mgr, nodes); err != nil {
		return err
	}
	e := &extender.Extender{Nodes: nodes, Terms: p.terms, Now: p.policies.Clock.Now, Metrics: extender.NewMetrics(metrics.Registry)}
	secure, err = authenticated(secure, "--extender-client-ca", o.extenderCA)
	if err != nil {
		return err
	}
	return listen(mgr, "extender", "--extender-bind-address", o.extenderBind, e.Handler(), secure)
}

// forgetDeleted drops what is known of a policy as soon as that is deleted: no pod
// may ever name it again.
func forgetDeleted(ctx context.Context, mgr ctrl.Manager, nodes *extender.Nodes) error {
	informer, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.CarbonPolicy{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch policies: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{DeleteFunc: func(object any) {
		if name, err := toolscache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil { // policies have no namespace
			nodes.Forget(name)
		}
	}})
	if err != nil {
		return fmt.Errorf("watch policies: %w", err)
	}
	return nil
}

// placing tells the extender what the policies and the forecasts say. The
// policies need not know of nodes: to look for those anew takes longer than an
// answer may, and only plans need it.
type placing struct {
	policies gating.Policies
	store    *forecast.Store
}

// terms are what the placing of a pod depends on: the prediction is that which
// its start was planned with.
func (p placing) terms(ctx context.Context, pod *metav1.PartialObjectMetadata, now time.Time) (extender.Terms, error) {
	name := pod.Annotations[v1alpha1.PolicyAnnotation]
	if name == "" {
		name = gating.NamespacePolicy(ctx, p.policies.Reader, pod.Namespace)
	}
	policy, err := p.policies.Get(ctx, name)
	if err != nil {
		if apierrors.IsNotFound(err) {
			err = errors.Join(extender.ErrNoPolicy, err)
		}
		return extender.Terms{Policy: name}, err
	}
	task := gating.TaskOf(policy, pod)
	terms := extender.Terms{
		Policy: policy.Name, Buckets: policy.Buckets(), Duration: task.Duration,
		Home: gating.HomeOf(policy, pod), Strict: gating.Strict(pod, task, now),
	}
	book := p.store.Snapshot(policy.Source)
	for _, l := range policy.GridLocations() {
		expected, _ := policy.Predict(book, l.Name, now)
		terms.Locations = append(terms.Locations, extender.Location{Name: l.Name, NodeSelector: l.NodeSelector, Expected: expected.Series})
	}
	return terms, nil
}

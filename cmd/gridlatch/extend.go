package main

import (
	"context"
	"crypto/tls"
	"fmt"

	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/extender"
	"github.com/gridlatch/gridlatch/policy"
)

// extend answers kube-scheduler, in every replica.
func extend(ctx context.Context, mgr ctrl.Manager, o *options, secure *tls.Config, p extender.Placing) error {
	nodes := &extender.Nodes{}
	informer, err := mgr.GetCache().GetInformer(ctx, policy.NodeMetadata(), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	if _, err := informer.AddEventHandler(nodes); err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	if err := forgetDeleted(ctx, mgr, nodes); err != nil {
		return err
	}
	e := &extender.Extender{Nodes: nodes, Terms: p.Terms, Now: p.Policies.Clock.Now, Metrics: extender.NewMetrics(metrics.Registry)}
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

package main

import (
	"context"
	"crypto/tls"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/extender"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/policy/cached"
)

// serveExtender answers kube-scheduler, in every replica.
func serveExtender(ctx context.Context, mgr ctrl.Manager, o *options, secure *tls.Config, p extender.Placing) error {
	nodes := &extender.Nodes{}
	if err := cached.Watch(ctx, mgr.GetCache(), policy.NewMetadata(policy.NodeKind()), nodes); err != nil {
		return err
	}
	if err := cached.Watch(ctx, mgr.GetCache(), &v1alpha1.CarbonPolicy{}, nodes.PolicyHandler()); err != nil {
		return err
	}
	e := &extender.Extender{Nodes: nodes, Terms: p.Terms, Now: p.Policies.Clock.Now, Metrics: extender.NewMetrics(metrics.Registry)}
	secure, err := requireClientCertificates(secure, "--extender-client-ca", o.extenderCA)
	if err != nil {
		return err
	}
	return listen(mgr, "extender", "--extender-bind-address", o.extenderBind, e.Handler(), secure)
}

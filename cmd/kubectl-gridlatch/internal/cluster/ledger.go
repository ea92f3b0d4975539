package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/accounts"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger/pages"
	"github.com/gridlatch/gridlatch/policy"
)

// Ledger reads the ledger of the cluster, and what its figures are made of: where the intensities come from,
// and the actual intensities of the last days.
func (c *Cluster) Ledger(ctx context.Context) (*accounts.Ledger, error) {
	var found corev1.ConfigMapList
	if err := c.API.List(ctx, &found, client.InNamespace(c.System), client.HasLabels{pages.Label}); err != nil {
		if apierrors.IsForbidden(err) {
			return nil, fmt.Errorf("you may not read the ledger: ask for the right to get and list ConfigMaps in namespace %s (%w)", c.System, err)
		}
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	l := accounts.NewLedger()
	for i := range found.Items {
		l.AddPage(&found.Items[i], c.Now)
	}
	if len(found.Items) == 0 {
		l.Warnings = append(l.Warnings, fmt.Sprintf("namespace %s has no page of a ledger: the first is written ten minutes after the first work has ended", c.System))
	}
	if controller, err := c.Controller(ctx); err == nil && controller.Problem != "" {
		l.Warnings = append(l.Warnings, "nobody writes the ledger now: "+controller.Problem)
	}
	c.readOrigins(ctx, l)
	for _, open := range l.OpenSources() {
		document, err := c.documentOf(ctx, open)
		if err == nil {
			err = l.AddForecast(open.Source, document, c.Now)
		}
		if err != nil {
			l.MissForecast(open.Source, err)
		}
	}
	return l, nil
}

// readOrigins reads where the intensities of each location come from.
func (c *Cluster) readOrigins(ctx context.Context, l *accounts.Ledger) {
	histories := metav1.PartialObjectMetadataList{}
	histories.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMapList"))
	if err := c.API.List(ctx, &histories, client.InNamespace(c.System), client.HasLabels{history.SourceLabel}); err != nil {
		l.Warnings = append(l.Warnings, fmt.Sprintf("where the intensities come from is not known: %v", err))
		return
	}
	for i := range histories.Items {
		l.AddOrigin(&histories.Items[i])
	}
}

// documentOf reads the newest document of a source: where the policy of a group finds the document, if the policy still has
// this source.
func (c *Cluster) documentOf(ctx context.Context, open accounts.OpenSource) (forecast.Document, error) {
	rules, err := policy.Policies{Reader: &policyReader{Reader: c.API}, Clock: clock(c.Now), Namespace: c.System, Nodes: &policy.Nodes{Reader: c.API}}.Get(ctx, open.Policy)
	if err == nil && rules.Source.String() == open.Source {
		_, document, err := c.document(ctx, rules, c.Now)
		return document, err
	}
	var object corev1.ConfigMap
	source := forecast.ParseSource(open.Source)
	if err := c.API.Get(ctx, client.ObjectKey{Namespace: source.Namespace, Name: source.Name}, &object); err != nil {
		return forecast.Document{}, err
	}
	return forecast.FromConfigMap(object.BinaryData, object.Data, source.Key, history.LastWritten(&object, c.Now))
}

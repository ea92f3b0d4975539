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

// Ledger reads what a question needs of the cluster's ledger, and what the figures are made of:
// where the intensities come from, and the actual intensities of the last days.
func (c *Cluster) Ledger(ctx context.Context, q accounts.Question) (*accounts.Ledger, error) {
	listed, err := pages.Store{Reader: c.API, Namespace: c.System}.List(ctx)
	if err != nil {
		return nil, c.withLedgerHint(err)
	}
	l := accounts.NewLedger()
	if len(listed) == 0 {
		l.Warnings = append(l.Warnings, fmt.Sprintf("namespace %s has no page of a ledger: the first is written some minutes after the first work has ended", c.System))
	}
	for _, name := range accounts.Select(q, listed) {
		var page corev1.ConfigMap
		err := c.API.Get(ctx, client.ObjectKey{Namespace: c.System, Name: pages.ConfigMapName(name)}, &page)
		if apierrors.IsNotFound(err) {
			continue // a day has just become a part of its month
		}
		if err != nil {
			return nil, c.withLedgerHint(fmt.Errorf("read page %s of the ledger: %w", name, err))
		}
		l.AddPage(name, &page, q.Now)
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

// withLedgerHint adds to an error which right a user needs who may not read the ledger.
func (c *Cluster) withLedgerHint(err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("you may not read the ledger: ask for the Role gridlatch-report-reader in namespace %s (%w)", c.System, err)
	}
	return err
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

// documentOf reads the newest document of a source: where the policy of a group finds the document,
// if the policy still has this source.
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

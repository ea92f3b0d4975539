package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/ledger/keep"
	"github.com/gridlatch/gridlatch/ledger/meter"
	"github.com/gridlatch/gridlatch/ledger/pages"
	"github.com/gridlatch/gridlatch/ledger/rows"
	"github.com/gridlatch/gridlatch/policy"
)

// addLedger adds the part that books what has ended, unless --ledger=false. It runs on the leader.
func addLedger(mgr ctrl.Manager, o *options, config *rest.Config, policies policy.Policies, store *forecast.Store, records *gating.Records, now policy.Clock) error {
	if !o.ledger {
		return nil
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	definitions, err := metadata.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	config = rest.CopyConfig(config)
	config.ContentType = runtime.ContentTypeProtobuf // whole pods and Jobs come by the watches
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	keeper := &keep.Keeper{
		Clientset: clientset, Store: store, Policies: policies, Clock: now, Nodes: mgr.GetCache(), Pods: mgr.GetAPIReader(), Interval: o.ledgerInterval,
		Pages:   pages.Store{Reader: mgr.GetAPIReader(), Writer: mgr.GetClient(), Namespace: o.namespace},
		Metrics: keep.NewMetrics(metrics.Registry), MeterAt: meters(),
		Wholes: &keep.Wholes{Objects: objects, Definitions: definitions}, Exists: records.Exists,
	}
	if o.ledgerDatabase != (rows.Config{}) {
		if keeper.Rows, err = addRows(mgr, o.ledgerDatabase, keeper.Metrics); err != nil {
			return err
		}
	}
	if err := mgr.Add(keeper); err != nil {
		return fmt.Errorf("add to manager: %w", err)
	}
	return nil
}

// addRows adds the part that writes each group to a database. The database need not be up.
func addRows(mgr ctrl.Manager, config rows.Config, of *keep.Metrics) (*rows.Follower, error) {
	table, err := rows.Open(config)
	if err != nil {
		return nil, usageError{fmt.Errorf("--ledger-database: %w", err)}
	}
	logger := mgr.GetLogger().WithName("ledger")
	follower := rows.NewFollower(table, func(written int, err error) {
		of.WroteRows(written, err)
		if err != nil {
			logger.Error(err, "cannot write the rows of the ledger to the database, trying again")
		}
	})
	run := manager.RunnableFunc(func(ctx context.Context) error {
		follower.Run(ctx)
		return table.Close()
	})
	if err := mgr.Add(run); err != nil {
		return nil, fmt.Errorf("add to manager: %w", err)
	}
	return follower, nil
}

// meters returns a function that returns the meter at an address; nil if there can be none. It always
// returns the same meter, which keeps its connection.
func meters() func(address string) keep.Meter {
	known := map[string]keep.Meter{}
	return func(address string) keep.Meter {
		if m, ok := known[address]; ok {
			return m
		}
		m, err := meter.New(address)
		if err != nil { // the policy tells
			return nil
		}
		known[address] = m
		return m
	}
}

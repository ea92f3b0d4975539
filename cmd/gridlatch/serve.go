package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	scalers "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/certs"
	"github.com/gridlatch/gridlatch/extender"
	"github.com/gridlatch/gridlatch/feed"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/widen"
	"github.com/gridlatch/gridlatch/leaving"
	"github.com/gridlatch/gridlatch/nodegroup"
	"github.com/gridlatch/gridlatch/nodepool"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/policy/cached"
	"github.com/gridlatch/gridlatch/serving"
	"github.com/gridlatch/gridlatch/trigger"
	"github.com/gridlatch/gridlatch/webhook"
)

// name is the name of the Deployment and of all that belongs to it.
const name = "gridlatch"

// changesQueued bounds how many changed forecasts wait for the loop.
const changesQueued = 1024

// serve runs all parts until the context ends.
func serve(ctx context.Context, o *options, config *rest.Config, now policy.Clock) error {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return fmt.Errorf("build scheme: %w", err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return fmt.Errorf("build scheme: %w", err)
	}
	if err := scalers.AddToScheme(scheme); err != nil {
		return fmt.Errorf("build scheme: %w", err)
	}
	source := certs.NewSource(slices.Concat([]string{serviceHost(name, o.namespace)}, o.scaler.hosts(), o.webhookHosts))
	mgr, err := newManager(o, config, scheme)
	if err != nil {
		return err
	}
	if o.certDir == "" {
		if err := source.SetupWithManager(mgr); err != nil {
			return err
		}
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	keeper, err := addKeeper(mgr, o, config, clientset)
	if err != nil {
		return err
	}
	if err := wire(ctx, mgr, o, config, clientset, keeper, source, now); err != nil {
		return err
	}
	return runThenLeave(ctx, mgr, keeper)
}

// newManager makes a manager whose caches keep only what the packages need.
func newManager(o *options, config *rest.Config, scheme *runtime.Scheme) (ctrl.Manager, error) {
	byObject := cached.ByObject()
	if o.certDir == "" {
		maps.Copy(byObject, certs.SecretByObject(caSecret(o.namespace)))
	}
	grace, lease, renew := shutdownTime, leaving.LeaseDuration, leaving.RenewDeadline
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		MapperProvider:                cached.Mapper,
		Cache:                         cache.Options{ByObject: byObject, ReaderFailOnMissingInformer: true, NewInformer: cached.NewInformer},
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // see listen
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              name,
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		GracefulShutdownTimeout:       &grace,
	})
	if err != nil {
		return nil, fmt.Errorf("build manager: %w", err)
	}
	return mgr, nil
}

// wire connects the parts. The feed fills one store of forecasts, and the webhook, the loop, the
// extender, the ceilings and the NodePools read it.
func wire(ctx context.Context, mgr ctrl.Manager, o *options, config *rest.Config, clientset kubernetes.Interface, keeper *leaving.Keeper, source *certs.Source, now policy.Clock) error {
	policies, err := readPolicies(ctx, mgr, o, now)
	if err != nil {
		return err
	}
	records, err := gating.NewRecords(config, now)
	if err != nil {
		return err
	}
	store := &forecast.Store{}
	changed := newChanges()

	memory := &feed.Memory{Clientset: clientset, Namespace: o.namespace, Store: store, Clock: now}
	forecasts := &feed.Feed{
		Clientset: clientset, Policies: policies.WithoutSites(), Store: store, Clock: now, Memory: memory,
		Changed: []chan<- event.TypedGenericEvent[forecast.Source]{changed},
	}
	if err := forecasts.SetupWithManager(mgr); err != nil {
		return err
	}
	workloads, err := gating.NewWorkloads(config)
	if err != nil {
		return err
	}
	announcer := gating.NewAnnouncer(mgr.GetEventRecorder(name))
	sweeper := &gating.Sweeper{Reader: mgr.GetAPIReader(), Writer: mgr.GetClient(), Records: records, Clock: now}
	loop := &gating.Loop{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Records: records, Policies: policies, Store: store, Clock: now,
		Events: announcer, Metrics: gating.NewMetrics(metrics.Registry), Sweeper: sweeper, Workloads: workloads, Workers: o.workers,
	}
	if err := loop.SetupWithManager(mgr, changed); err != nil {
		return err
	}
	triggers, err := newTriggering(mgr, o, keeper, source, forecasts)
	if err != nil {
		return err
	}
	if err := addOverrides(mgr, o, config, loop, triggers, whyLeaving(keeper)); err != nil {
		return err
	}
	holdSwitch, err := addSwitch(mgr, o, clientset, loop, now)
	if err != nil {
		return err
	}
	loop.WhyUnable = whyUnable(keeper, holdSwitch)
	runs := &gating.Runs{Reader: mgr.GetAPIReader()}
	hook := &webhook.Webhook{
		Reader: mgr.GetCache(), Records: records, Policies: policies.AskingAlso(cached.Sparing(mgr.GetAPIReader())), Store: store, Runs: runs,
		Clock: now, WhyUnable: loop.WhyUnable, Metrics: webhook.NewMetrics(metrics.Registry), MarkForExtender: o.servesExtender(),
	}
	metrics.Registry.MustRegister(&feed.GridCollector{Policies: policies.WithoutSites(), Store: store, Clock: now})
	for _, runnable := range []manager.Runnable{records, workloads, announcer, sweeper, memory, runs, freeMemory{records}} {
		if err := mgr.Add(runnable); err != nil {
			return fmt.Errorf("add to manager: %w", err)
		}
	}
	if err := addLedger(mgr, o, config, policies, store, records, now); err != nil {
		return err
	}
	return serveRequests(ctx, mgr, o, records, triggers, hook)
}

// addOverrides adds the controllers that change objects of others for a while. whyNot says why no Job may be changed.
func addOverrides(mgr ctrl.Manager, o *options, config *rest.Config, loop *gating.Loop, t triggering, whyNot func() string) error {
	policies, events := loop.Policies, loop.Events
	forecasts := t.forecasts
	store, capped, pooled, grouped := forecasts.Store, newChanges(), newChanges(), newChanges()
	forecasts.Changed = append(forecasts.Changed, capped, pooled, grouped)
	ceilings := &ceiling.Controller{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Policies: policy.Levels{Policies: policies, Store: store}, Store: store, Follow: forecasts.FollowAlso,
		Clock: forecasts.Clock, Events: events, Metrics: ceiling.NewMetrics(metrics.Registry), Options: o.ceilings(t.isTrusted),
	}
	if err := ceilings.SetupWithManager(mgr, config, capped); err != nil {
		return err
	}
	pools := &nodepool.Controller{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Policies: policy.Levels{Policies: policies.WithoutSites(), Store: store}, Store: store,
		Clock: forecasts.Clock, Events: events, Metrics: nodepool.NewMetrics(metrics.Registry), Options: o.pools(),
	}
	if err := pools.SetupWithManager(mgr, config, pooled); err != nil {
		return err
	}
	groups := &nodegroup.Controller{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Policies: policy.Levels{Policies: policies.WithoutSites(), Store: store}, Store: store,
		Clock: forecasts.Clock, Events: events, Metrics: nodegroup.NewMetrics(metrics.Registry), Options: o.groups(),
	}
	if err := groups.SetupWithManager(mgr, config, grouped); err != nil {
		return err
	}
	return addWidths(mgr, o, config, loop, forecasts, whyNot)
}

// addWidths adds the controller that runs Jobs wider while the grid is clean.
func addWidths(mgr ctrl.Manager, o *options, config *rest.Config, loop *gating.Loop, forecasts *feed.Feed, whyNot func() string) error {
	changed := newChanges()
	forecasts.Changed = append(forecasts.Changed, changed)
	widths := &widen.Controller{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Policies: loop.Policies, Store: loop.Store, Work: loop, Clock: loop.Clock, Events: loop.Events,
		Metrics: widen.NewMetrics(metrics.Registry), Options: widen.Options{Workers: o.workers, Interval: o.widthInterval}, WhyNot: whyNot,
	}
	return widths.SetupWithManager(mgr, config, changed)
}

// whyLeaving says why nothing is lent: because Gridlatch is being removed.
func whyLeaving(keeper *leaving.Keeper) func() string {
	return func() string {
		if keeper == nil {
			return ""
		}
		return keeper.WhyNotHeld("")
	}
}

// newChanges returns a queue for the forecasts that have changed.
func newChanges() chan event.TypedGenericEvent[forecast.Source] {
	return make(chan event.TypedGenericEvent[forecast.Source], changesQueued)
}

// whyUnable says why work in a namespace that needs a component is not held: because Gridlatch or the
// component is being removed, or because releases fail.
func whyUnable(keeper *leaving.Keeper, able *gating.Switch) func(namespace, component string) string {
	return func(namespace, component string) string {
		if keeper != nil {
			if why := keeper.WhyNotHeld(component); why != "" {
				return why
			}
		}
		return able.WhyNotHeld(namespace)
	}
}

// readPolicies prepares the cache, from which policies are read, and follows the nodes that the policies
// can choose.
func readPolicies(ctx context.Context, mgr ctrl.Manager, o *options, now policy.Clock) (policy.Policies, error) {
	if err := cached.Prepare(ctx, mgr.GetCache()); err != nil {
		return policy.Policies{}, err
	}
	nodes := &policy.Nodes{Reader: mgr.GetCache()}
	if err := cached.Watch(ctx, mgr.GetCache(), policy.NewMetadata(policy.NodeKind()), nodes.EventHandler()); err != nil {
		return policy.Policies{}, err
	}
	return policy.Policies{Reader: mgr.GetCache(), Clock: now, Namespace: o.namespace, Nodes: nodes}, nil
}

// addSwitch adds the switch that lets the webhook hold work only while the loop can release work.
func addSwitch(mgr ctrl.Manager, o *options, clientset kubernetes.Interface, loop *gating.Loop, now policy.Clock) (*gating.Switch, error) {
	var leases kubernetes.Interface
	if o.leaderElect {
		leases = clientset
	}
	able := gating.NewSwitch(leases, o.namespace, now, metrics.Registry)
	identity, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this replica: %w", err)
	}
	pulse := &gating.Pulse{
		Clientset: clientset, Namespace: o.namespace, Identity: identity, Clock: now, Health: loop.ReleaseHealth(), Switch: able,
	}
	for _, runnable := range []manager.Runnable{able, pulse} {
		if err := mgr.Add(runnable); err != nil {
			return nil, fmt.Errorf("add to manager: %w", err)
		}
	}
	return able, nil
}

// serveRequests answers the API server, kube-scheduler, KEDA, Prometheus and the kubelet.
func serveRequests(ctx context.Context, mgr ctrl.Manager, o *options, records *gating.Records, t triggering, hook *webhook.Webhook) error {
	source := t.source
	secure, err := serverTLS(mgr, o, source)
	if err != nil {
		return err
	}
	expiry := &certs.ExpiryCollector{Serving: secure}
	if o.certDir == "" {
		expiry.Source = source
	}
	metrics.Registry.MustRegister(expiry)
	if err := serveWebhook(mgr, o, secure, hook, t); err != nil {
		return err
	}
	if o.servesExtender() {
		p := extender.Placing{Policies: hook.Policies.WithoutSites(), Store: hook.Store}
		if err := serveExtender(ctx, mgr, o, secure, p); err != nil {
			return err
		}
	}
	if o.scaler.isServed() {
		if err := serveTriggers(ctx, mgr, o, secure, t); err != nil {
			return err
		}
	}
	if err := o.metrics.serveMetrics(mgr, given(secure)); err != nil {
		return err
	}
	return serveReadiness(mgr, o, secure, records, t.forecasts)
}

// serveWebhook answers the API server, in every replica.
func serveWebhook(mgr ctrl.Manager, o *options, secure *tls.Config, hook *webhook.Webhook, t triggering) error {
	secure, err := requireClientCertificates(secure, "--webhook-client-ca", o.webhookCA)
	if err != nil {
		return err
	}
	intake, mux := serving.NewIntake(serving.ReviewLimits()), http.NewServeMux()
	counted := serving.NewMetrics(metrics.Registry, clock.RealClock{}.Now) // no time is skipped, as hook.Clock may do
	mux.Handle(webhook.Path, intake.Reviews(webhook.Path, counted, hook.Handle))
	mux.Handle(webhook.AuditPath, intake.Reviews(webhook.AuditPath, counted, hook.Audit))
	mux.Handle(webhook.AuditAllPath, intake.Reviews(webhook.AuditAllPath, counted, hook.AuditAll))
	mux.Handle(ceiling.AdvicePath, intake.Reviews(ceiling.AdvicePath, counted, ceiling.Advice{Clock: hook.Clock}.Handle))
	triggers := trigger.Admission{
		Form: o.scaler.form(), Levels: policy.Levels{Policies: hook.Policies.WithoutSites(), Store: hook.Store}, Clock: hook.Clock,
		IsTrusted: t.isTrusted,
	}
	mux.Handle(trigger.ReviewPath, intake.Reviews(trigger.ReviewPath, counted, triggers.Handle))
	address := net.JoinHostPort(o.webhookBind, strconv.Itoa(o.webhookPort))
	return listen(mgr, "webhook", "--webhook-port", address, mux, secure)
}

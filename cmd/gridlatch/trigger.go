package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/metadata"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/certs"
	"github.com/gridlatch/gridlatch/feed"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/leaving"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/policy/cached"
	"github.com/gridlatch/gridlatch/serving"
	"github.com/gridlatch/gridlatch/trigger"
	"github.com/gridlatch/gridlatch/trigger/scaler"
	"github.com/gridlatch/gridlatch/trigger/trust"
)

// scalerService is the Service by which KEDA finds the scaler. It has no address of its own, so that
// KEDA spreads its calls over the replicas.
const scalerService = name + "-scaler"

// scalerOptions are the values of the flags for KEDA's trigger carbon-intensity.
type scalerOptions struct {
	bind          string
	address       string
	clientCA      string
	kedaNamespace string
}

func (o *scalerOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.bind, "scaler-bind-address", "", "address on which the scaler answers KEDA about triggers of the type carbon-intensity, with the webhook's certificate, such as :9446; the triggers are then replaced by what KEDA knows; empty: not served. manifests/components/keda sets this flag")
	f.StringVar(&o.address, "scaler-address", "", "address by which KEDA finds the scaler, as host:port; empty: the Service "+scalerService+", at the port of --scaler-bind-address")
	f.StringVar(&o.clientCA, "scaler-client-ca", "", "file with the CA certificates that must have signed the certificate of a caller of the scaler; Gridlatch reads the file anew for each connection; empty: anybody may call the scaler")
	f.StringVar(&o.kedaNamespace, "keda-namespace", "keda", "namespace of KEDA. Gridlatch writes its CA there, for KEDA to trust the scaler")
}

// isServed reports whether the scaler runs. Triggers are rewritten only if the scaler runs.
func (o *scalerOptions) isServed() bool { return o.bind != "" && o.bind != "0" }

// check returns an error if an option cannot be used, and completes the address.
func (o *scalerOptions) check(namespace string) error {
	if !o.isServed() {
		if o.address != "" || o.clientCA != "" {
			return errors.New("--scaler-address, --scaler-client-ca: want --scaler-bind-address as well")
		}
		return nil
	}
	_, port, err := net.SplitHostPort(o.bind)
	if err != nil {
		return fmt.Errorf("--scaler-bind-address %q: want an address such as :9446", o.bind)
	}
	if o.address == "" {
		o.address = net.JoinHostPort(serviceHost(scalerService, namespace), port)
	}
	if host, port, err := net.SplitHostPort(o.address); err != nil || host == "" || port == "" {
		return fmt.Errorf("--scaler-address %q: want an address such as %s:9446", o.address, serviceHost(scalerService, namespace))
	}
	return nil
}

// form returns what rewritten triggers name. Without a scaler it is empty, and nothing is rewritten.
func (o *scalerOptions) form() trigger.Form {
	if !o.isServed() {
		return trigger.Form{}
	}
	return trigger.Form{Address: o.address, Authentication: trust.Authentication}
}

// hosts returns the DNS names that the certificate needs for KEDA.
func (o *scalerOptions) hosts() []string {
	host, _, err := net.SplitHostPort(o.address)
	if err != nil { // not served
		return nil
	}
	return []string{host}
}

// triggering is what KEDA's triggers need of the other parts.
type triggering struct {
	forecasts *feed.Feed
	source    *certs.Source
	// isTrusted reports whether triggers may be rewritten: KEDA trusts the scaler, and Gridlatch stays.
	isTrusted func() bool
	isLeaving func() bool
}

// newTriggering prepares what KEDA's triggers need. Where the scaler is served, every replica looks
// whether KEDA can trust the scaler.
func newTriggering(mgr ctrl.Manager, o *options, keeper *leaving.Keeper, source *certs.Source, forecasts *feed.Feed) (triggering, error) {
	t := triggering{
		forecasts: forecasts, source: source,
		isLeaving: func() bool { return keeper != nil && keeper.WhyNotHeld(ceiling.Component) != "" },
	}
	presence := &trust.Presence{Live: mgr.GetAPIReader(), Namespace: o.scaler.kedaNamespace, Clock: clock.RealClock{}}
	t.isTrusted = func() bool { return presence.IsThere() && !t.isLeaving() }
	if !o.scaler.isServed() {
		return t, nil
	}
	if err := mgr.Add(presence); err != nil {
		return t, fmt.Errorf("add to manager: %w", err)
	}
	return t, nil
}

// serveTriggers answers KEDA, in every replica, and lets the leader make KEDA trust the answers.
func serveTriggers(ctx context.Context, mgr ctrl.Manager, o *options, secure *tls.Config, t triggering) error {
	secure, err := requireClientCertificates(secure, "--scaler-client-ca", o.scaler.clientCA)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.scaler.bind)
	if err != nil {
		return fmt.Errorf("--scaler-bind-address: %w", err)
	}
	levels := &policy.KnownLevels{Of: policy.Levels{Policies: t.forecasts.Policies, Store: t.forecasts.Store}.Level}
	s := &scaler.Scaler{
		Levels: levels, Clock: timedClock{t.forecasts.Clock}, Metrics: scaler.NewMetrics(metrics.Registry),
	}
	changes := make(chan event.TypedGenericEvent[forecast.Source], changesQueued)
	t.forecasts.Changed = append(t.forecasts.Changed, changes)
	onPolicy := func(name string) {
		levels.Forget(func(policy string, _ forecast.Source) bool { return policy == name })
		s.Changed()
	}
	onForecast := func(changed forecast.Source) {
		levels.Forget(func(_ string, source forecast.Source) bool { return source == changed })
		s.ForecastChanged(changed)
	}
	if err := cached.Watch(ctx, mgr.GetCache(), &v1alpha1.CarbonPolicy{}, onPolicies(onPolicy)); err != nil {
		return err
	}
	for _, runnable := range []manager.Runnable{
		scaler.NewServer(s, serving.Bound(listener), secure), everywhere(func(ctx context.Context) { followForecasts(ctx, changes, onForecast) }),
	} {
		if err := mgr.Add(runnable); err != nil {
			return fmt.Errorf("add to manager: %w", err)
		}
	}
	return addTrust(mgr, o, t)
}

// onPolicies tells of policies that have changed. The status of a policy does not count.
func onPolicies(tell func(name string)) toolscache.ResourceEventHandler {
	changed := func(object any) {
		if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		if p, ok := object.(*v1alpha1.CarbonPolicy); ok {
			tell(p.Name)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{AddFunc: changed, DeleteFunc: changed, UpdateFunc: func(before, after any) {
		p, ok := before.(*v1alpha1.CarbonPolicy)
		if q, okay := after.(*v1alpha1.CarbonPolicy); !ok || !okay || p.Generation != q.Generation || p.UID != q.UID {
			changed(after)
		}
	}}
}

// followForecasts tells of forecasts that have changed, until the context ends.
func followForecasts(ctx context.Context, changes <-chan event.TypedGenericEvent[forecast.Source], tell func(forecast.Source)) {
	for {
		select {
		case <-ctx.Done():
			return
		case change := <-changes:
			tell(change.Object)
		}
	}
}

// addTrust lets the leader make KEDA trust the scaler.
func addTrust(mgr ctrl.Manager, o *options, t triggering) error {
	definitions, err := metadata.NewForConfig(mgr.GetConfig())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	rotated := make(chan struct{}, 1)
	ca := func() ([]byte, error) { return authorityOf(t.source) }
	if o.certDir != "" {
		ca = func() ([]byte, error) { return readAuthority(o.certDir) }
	} else {
		t.source.WatchRotation(rotated)
	}
	k := &trust.Keeper{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Definitions: definitions, Namespace: o.scaler.kedaNamespace,
		CA: ca, Rotated: rotated, Clock: clock.RealClock{},
		IsLeaving: t.isLeaving,
	}
	if err := mgr.Add(k); err != nil {
		return fmt.Errorf("add to manager: %w", err)
	}
	return nil
}

// authorityOf returns the CA of certificates that Gridlatch signs itself.
func authorityOf(source *certs.Source) ([]byte, error) {
	if ca := source.CA(); ca != nil {
		return ca, nil
	}
	return nil, errors.New("the Secret with the CA has not been read yet")
}

// readAuthority returns the CA of the certificate in a directory. cert-manager writes none if the CA is
// one that everybody trusts.
func readAuthority(dir string) ([]byte, error) {
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--cert-dir: %w", err)
	}
	return ca, nil
}

// timedClock is a clock whose timers are those of this machine.
type timedClock struct{ policy.Clock }

// AfterFunc runs a function later.
func (timedClock) AfterFunc(d time.Duration, f func()) clock.Timer {
	return clock.RealClock{}.AfterFunc(d, f)
}

// everywhere runs in every replica, until the context ends.
type everywhere func(context.Context)

// Start runs the function.
func (e everywhere) Start(ctx context.Context) error {
	e(ctx)
	return nil
}

// NeedLeaderElection returns false.
func (everywhere) NeedLeaderElection() bool { return false }

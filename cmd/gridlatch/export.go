package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/internal/version"
	"github.com/gridlatch/gridlatch/exporter"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/policy/cached"
)

// exportName is the name of the exporter's lease, and of all that belongs to the exporter.
const exportName = name + "-export"

const exportUsage = `Asks those who know the grid for carbon intensities, and writes them to ConfigMaps,
from which Gridlatch plans. The command runs beside Gridlatch in a Deployment of its
own, and is the only part that asks the Internet.

Whom to ask is in your policies. For Germany, without a key:
  apiVersion: gridlatch.dev/v1alpha1
  kind: CarbonPolicy
  metadata: {name: default}
  spec:
    forecast: {provider: {type: EnergyCharts}}
    locations: [{name: DE}]
For other providers, and how to give Gridlatch their keys:
  https://github.com/gridlatch/gridlatch/blob/main/docs/providers.md
While the policy default names no provider, no locations and no ConfigMap of its own, and
nobody else writes kube-system/carbon-intensity, the command finds the zone by the label
topology.kubernetes.io/region of the nodes, and asks a provider without a key.

The command asks through a proxy if HTTPS_PROXY, HTTP_PROXY and NO_PROXY say so.

Usage:
  gridlatch export [flags]

Flags:
`

// exportOptions are the values of the flags of gridlatch export.
type exportOptions struct {
	kubeconfig  string
	namespace   string
	leaderElect bool
	auto        bool
	caFile      string
	metrics     metricsOptions
	probeBind   string
	logLevel    slog.Level
}

func (o *exportOptions) parse(args []string, output io.Writer) error {
	f := pflag.NewFlagSet("gridlatch export", pflag.ContinueOnError)
	f.SetOutput(output)
	f.SortFlags = false
	f.Usage = func() { fmt.Fprint(output, exportUsage, f.FlagUsagesWrapped(100)) }
	addCommonFlags(f, &o.kubeconfig, &o.namespace, &o.logLevel)
	f.BoolVar(&o.leaderElect, "leader-elect", true, "elect a leader among the replicas; needed with more than one replica")
	f.BoolVar(&o.auto, "auto", true, "ask a provider without a key for the region of the nodes, if the policy default does not say who brings the forecast and nobody else does; --auto=false: ask only providers that a policy names")
	f.StringVar(&o.caFile, "ca-file", "", "file with CA certificates in PEM, which are trusted beside those of the system, such as those of your proxy or of a server of your own; the file is read at the start")
	o.metrics.addFlags(f)
	f.StringVar(&o.probeBind, "health-probe-bind-address", ":8081", "address on which /healthz and /readyz are served; 0: not served")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: see gridlatch export --help", f.Arg(0))
	}
	return nil
}

// export runs the part that asks providers for forecasts.
func export(ctx context.Context, args []string) error {
	o := &exportOptions{}
	if err := o.parse(args, os.Stderr); err != nil {
		return usageError{err}
	}
	logTo(os.Stderr, o.logLevel)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	asking := provider.Options{UserAgent: version.Get().UserAgent(name)}
	if o.caFile != "" {
		var err error
		if asking.CA, err = os.ReadFile(o.caFile); err != nil {
			return usageError{fmt.Errorf("--ca-file: %w", err)}
		}
	}
	config, err := restConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	mgr, err := newExportManager(o, config)
	if err != nil {
		return err
	}
	e := &exporter.Exporter{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Namespace: o.namespace, Clock: clock.RealClock{}, Options: asking,
		Metrics: exporter.NewMetrics(metrics.Registry), IsManual: !o.auto,
	}
	metrics.Registry.MustRegister(e)
	if err := e.SetupWithManager(ctx, mgr); err != nil {
		return err
	}
	if err := o.metrics.serveMetrics(mgr, selfSigned); err != nil {
		return err
	}
	if err := serveProbes(mgr, o.probeBind, map[string]healthz.Checker{"caches": onceReady(cachesFilled(mgr))}); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// newExportManager makes a manager whose cache keeps only what the exporter needs.
func newExportManager(o *exportOptions, config *rest.Config) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("build scheme: %w", err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("build scheme: %w", err)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:         scheme,
		MapperProvider: cached.Mapper,
		Cache: cache.Options{
			ByObject: exporter.ByObject(o.namespace), ReaderFailOnMissingInformer: true, NewInformer: cached.NewInformer,
		},
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // see listen
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              exportName,
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, fmt.Errorf("build manager: %w", err)
	}
	return mgr, nil
}

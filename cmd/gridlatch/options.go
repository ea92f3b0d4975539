package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/gating/widen"
	"github.com/gridlatch/gridlatch/ledger/keep"
	"github.com/gridlatch/gridlatch/ledger/rows"
	"github.com/gridlatch/gridlatch/nodegroup"
	"github.com/gridlatch/gridlatch/nodepool"
)

// options are the values of the flags.
type options struct {
	kubeconfig   string
	namespace    string
	deployment   string
	leaderElect  bool
	webhookBind  string
	webhookPort  int
	webhookHosts []string
	webhookCA    string
	certDir      string
	extenderBind string
	extenderCA   string
	scaler       scalerOptions
	metrics      metricsOptions
	probeBind    string
	workers      int
	logLevel     slog.Level
	asksVersion  bool

	// These options are for ceilings.
	lowerInterval  time.Duration
	lowerBy        string
	hysteresis     float64 // percent
	earlyCron      bool
	crossNamespace []string

	// These options are for NodePools.
	poolInterval   time.Duration
	poolHysteresis float64 // percent

	widthInterval time.Duration // for Jobs that run at several widths

	// These options are for the ledger.
	ledger         bool
	ledgerInterval time.Duration
	ledgerDatabase rows.Config
}

const usage = `Gridlatch holds delay-tolerant pods and Jobs until the electricity grid is clean.

This is the program that runs in the cluster. Its parts are:
  webhook     holds work at admission
  loop        releases held work when the grid is clean, and in time for the
              deadline of the work
  extender    tells kube-scheduler which nodes are cleanest, if you ask for it
  ledger      books what the work that has ended took, emitted and saved
  ceilings    lowers and raises the maxReplicaCount of KEDA's objects, if KEDA
              and manifests/components/keda are installed
  nodepools   sets the limits, the weights and the prices of Karpenter's
              NodePools, if Karpenter and manifests/components/karpenter are
              installed
  nodegroups  ranks the node groups of Cluster Autoscaler, if a CarbonPolicy
              names them and manifests/components/cluster-autoscaler is
              installed
  widths      sets the parallelism of Jobs that may run wider while the grid is
              clean
  scaler      tells KEDA how clean the grid is, for the trigger carbon-intensity
Every replica runs the webhook, the extender and the scaler. One replica, the
leader, runs the loop, the ledger, the ceilings, the NodePools, the node groups
and the widths.

Usage:
  gridlatch [flags]          runs all parts
  gridlatch certs [flags]    keeps the CA of the webhook and its caBundle, on
                             clusters without cert-manager
  gridlatch export [flags]   asks providers for forecasts, and writes them to
                             ConfigMaps
  gridlatch release --all    releases every held pod, gives KEDA's objects their
                             maxReplicaCount, Karpenter's NodePools their limits,
                             weights and prices, Cluster Autoscaler's node
                             groups their priorities and Jobs their parallelism
                             back, removes the finalizers of Gridlatch from its
                             own objects, and ends. You need it only if you
                             remove Gridlatch while no replica runs

What to write on your Jobs and pods:
  https://github.com/gridlatch/gridlatch
What you can set for the whole cluster:
  kubectl explain carbonpolicies.spec

Flags:
`

// flags binds a new set of flags to the options.
func (o *options) flags(output io.Writer) *pflag.FlagSet {
	f := pflag.NewFlagSet("gridlatch", pflag.ContinueOnError)
	f.SetOutput(output)
	f.SortFlags = false
	f.Usage = func() { fmt.Fprint(output, usage, f.FlagUsagesWrapped(100)) }
	addCommonFlags(f, &o.kubeconfig, &o.namespace, &o.logLevel)
	f.StringVar(&o.deployment, "deployment", "", "name of the Deployment whose pods run Gridlatch. If somebody deletes the Deployment, its namespace or the rights of Gridlatch, Gridlatch first releases all held work. Empty: Gridlatch runs elsewhere, and does not notice that it is being removed")
	f.BoolVar(&o.asksVersion, "version", false, "print the version, the commit and the version of Go that this program was built from, and end")
	f.BoolVar(&o.leaderElect, "leader-elect", true, "elect a leader among the replicas; needed with more than one replica")
	f.StringVar(&o.webhookBind, "webhook-bind-address", "", "IP address on which the webhook listens; empty: all addresses")
	f.IntVar(&o.webhookPort, "webhook-port", 9443, "port on which the webhook listens")
	f.StringSliceVar(&o.webhookHosts, "webhook-host", nil, "another DNS name by which the API server calls the webhook, beside the name of its Service")
	f.StringVar(&o.webhookCA, "webhook-client-ca", "", "file with the CA certificates that must have signed the certificate of a caller of the webhook; Gridlatch reads the file anew for each connection; empty: anybody may call the webhook. Give the API server a client certificate first, or no work is held: manifests/base/webhook.yaml tells how")
	f.StringVar(&o.certDir, "cert-dir", "", "directory with the serving certificate in tls.crt and its key in tls.key, as cert-manager writes them; Gridlatch reads them anew when they change; empty: Gridlatch signs a certificate itself")
	f.StringVar(&o.extenderBind, "extender-bind-address", "0", "address on which the extender answers kube-scheduler with the webhook's certificate, such as :9444; the webhook then marks the pods for which kube-scheduler asks; 0: no extender. manifests/components/extender tells more")
	f.StringVar(&o.extenderCA, "extender-client-ca", "", "file with the CA certificates that must have signed the certificate of a caller of the extender; Gridlatch reads the file anew for each connection; empty: anybody may call the extender")
	o.scaler.addFlags(f)
	o.metrics.addFlags(f)
	f.StringVar(&o.probeBind, "health-probe-bind-address", ":8081", "address on which /healthz and /readyz are served; 0: not served")
	f.IntVar(&o.workers, "workers", 32, "how many pods may be released at the same time")
	f.DurationVar(&o.lowerInterval, "ceiling-lower-interval", 5*time.Minute, "shortest time between two steps that lower the ceiling of an object of KEDA because of the intensity; 0: no limit")
	f.StringVar(&o.lowerBy, "ceiling-lower-by", "", "largest step that lowers the ceiling of an object of KEDA, such as 2 (replicas) or 10%; empty: no limit. The annotation gridlatch.dev/lower-by of an object comes first")
	f.Float64Var(&o.hysteresis, "ceiling-hysteresis-percent", 2, "how far the intensity must fall below the bound of a bucket, in percent, before the ceiling of an object of KEDA is raised again")
	f.BoolVar(&o.earlyCron, "ceiling-early-cron", false, "apply the recurring schedules of CarbonAwareKedaScalers a minute early, as the Carbon Aware KEDA Operator did")
	f.StringSliceVar(&o.crossNamespace, "ceiling-cross-namespace", nil, "namespace whose CarbonAwareKedaScalers may have targets in other namespaces; *: all namespaces")
	f.DurationVar(&o.poolInterval, "nodepool-interval", 30*time.Minute, "shortest time between two changes that lower the limits of a NodePool of Karpenter because of the intensity, and between two changes of its weight or its prices, or of the order of node groups of Cluster Autoscaler; 0: no limit")
	f.Float64Var(&o.poolHysteresis, "nodepool-hysteresis-percent", 2, "how far the intensity must fall below the bound of a bucket, in percent, before the limits of a NodePool of Karpenter are raised again; and how much cleaner than another NodePool or node group it must be to go before that one")
	f.DurationVar(&o.widthInterval, "width-interval", widen.DefaultInterval, "shortest time between two changes of the parallelism of a Job because of the intensity; 0: a change in each slot of the forecast, and after each forecast")
	f.BoolVar(&o.ledger, "ledger", true, "book what work took, emitted and saved, once it has ended, in ConfigMaps whose names begin with gridlatch-ledger-")
	f.DurationVar(&o.ledgerInterval, "ledger-interval", keep.DefaultInterval, "how often the work that has ended is booked. Each time, at most a few ConfigMaps are written")
	f.StringVar(&o.ledgerDatabase.URL, "ledger-database", "", "PostgreSQL that keeps each group of work as a row, too, as postgres://USER@HOST/DATABASE. A password belongs in a file")
	f.StringVar(&o.ledgerDatabase.URLFile, "ledger-database-file", "", "file that has the URL of --ledger-database in its place. The file is read again for each connection")
	f.StringVar(&o.ledgerDatabase.PasswordFile, "ledger-database-password-file", "", "file that has the password for --ledger-database. The file is read again for each connection")
	return f
}

// addCommonFlags binds the flags that every part of the program has.
func addCommonFlags(f *pflag.FlagSet, kubeconfig, namespace *string, level *slog.Level) {
	f.StringVar(kubeconfig, "kubeconfig", "", "kubeconfig file; empty: the service account of the pod")
	f.StringVar(namespace, "namespace", ownNamespace(), "namespace of Gridlatch's own objects: its Secret, its Service, its leases, and the ConfigMaps with what it has learned")
	f.TextVar(level, "log-level", slog.LevelInfo, "least severe messages to log: debug, info, warn or error")
}

// ownNamespace returns the namespace of the pod.
func ownNamespace() string { return fallback(os.Getenv("POD_NAMESPACE"), "gridlatch-system") }

// parse reads the command line, without the program's name.
func (o *options) parse(args []string, output io.Writer) error {
	f := o.flags(output)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: see gridlatch --help", f.Arg(0))
	}
	if o.workers < 1 || o.workers > 1000 {
		return fmt.Errorf("--workers %d: want 1 to 1000", o.workers)
	}
	if o.extenderCA != "" && !o.servesExtender() {
		return errors.New("--extender-client-ca: want --extender-bind-address as well")
	}
	if o.ledgerInterval < time.Second || o.ledgerInterval > time.Hour {
		return fmt.Errorf("--ledger-interval %v: want 1s to 1h", o.ledgerInterval)
	}
	if o.widthInterval < 0 || o.widthInterval > 24*time.Hour {
		return fmt.Errorf("--width-interval %v: want 0s to 24h", o.widthInterval)
	}
	return errors.Join(o.scaler.check(o.namespace), o.checkCeilings(), o.checkPools())
}

// checkCeilings returns an error if an option for ceilings cannot be used.
func (o *options) checkCeilings() error {
	if o.lowerInterval < 0 || o.lowerInterval > 24*time.Hour {
		return fmt.Errorf("--ceiling-lower-interval %v: want 0s to 24h", o.lowerInterval)
	}
	if err := ceiling.CheckStep(o.lowerBy); err != nil {
		return fmt.Errorf("--ceiling-lower-by %w", err)
	}
	if !(o.hysteresis >= 0 && o.hysteresis <= 50) {
		return fmt.Errorf("--ceiling-hysteresis-percent %v: want 0 to 50", o.hysteresis)
	}
	return nil
}

// checkPools returns an error if an option for NodePools cannot be used.
func (o *options) checkPools() error {
	if o.poolInterval < 0 || o.poolInterval > 24*time.Hour {
		return fmt.Errorf("--nodepool-interval %v: want 0s to 24h", o.poolInterval)
	}
	if !(o.poolHysteresis >= 0 && o.poolHysteresis <= 50) {
		return fmt.Errorf("--nodepool-hysteresis-percent %v: want 0 to 50", o.poolHysteresis)
	}
	return nil
}

// servesExtender reports whether the extender runs.
func (o *options) servesExtender() bool { return o.extenderBind != "" && o.extenderBind != "0" }

// ceilings returns the options of package ceiling. Triggers are rewritten only while they are trusted.
func (o *options) ceilings(isTrusted func() bool) ceiling.Options {
	return ceiling.Options{
		Workers: o.workers, LowerInterval: o.lowerInterval, LowerBy: o.lowerBy, Hysteresis: o.hysteresis / 100,
		EarlyCron: o.earlyCron, CrossNamespace: o.crossNamespace, Form: o.scaler.form(), IsTrusted: isTrusted,
	}
}

// pools returns the options of package nodepool.
func (o *options) pools() nodepool.Options {
	return nodepool.Options{Workers: o.workers, Interval: o.poolInterval, Hysteresis: o.poolHysteresis / 100}
}

// groups returns the options of package nodegroup. They are those of NodePools, which are ranked alike.
func (o *options) groups() nodegroup.Options {
	return nodegroup.Options{Interval: o.poolInterval, Hysteresis: o.poolHysteresis / 100}
}

func fallback(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

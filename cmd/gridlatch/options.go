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
)

// options are what the flags say.
type options struct {
	kubeconfig   string
	namespace    string
	leaderElect  bool
	webhookBind  string
	webhookPort  int
	webhookHosts []string
	webhookCA    string
	certDir      string
	extenderBind string
	extenderCA   string
	metricsBind  string
	probeBind    string
	workers      int
	logLevel     slog.Level

	// of ceilings
	lowerInterval  time.Duration
	lowerBy        string
	hysteresis     float64 // percent
	earlyCron      bool
	crossNamespace []string
}

const usage = `Gridlatch holds delay-tolerant pods and Jobs until the electricity grid is clean.

This is the program that runs in the cluster. It answers for the mutating
webhook that holds work at admission, and releases what it holds in time for its
deadline. As an extender of kube-scheduler, it puts what it has released on the
nodes that are cleanest. It also lowers and raises the maxReplicaCount of KEDA's
objects, where KEDA is installed and manifests/components/keda is. Every replica
serves; one of them, the leader, releases and sets ceilings.

Usage:
  gridlatch [flags]              run
  gridlatch certs [flags]        keep the CA of the webhook and its caBundle, where
                                 cert-manager does not
  gridlatch release --all        release every pod that is held, give KEDA's
                                 objects their maxReplicaCount back, and exit:
                                 for leaving (see the README)

What users write and read, and what a policy sets, is told by:
  kubectl explain carbonpolicies.spec
  https://github.com/gridlatch/gridlatch

Flags:
`

// flags binds a new set of flags to the options.
func (o *options) flags(output io.Writer) *pflag.FlagSet {
	f := pflag.NewFlagSet("gridlatch", pflag.ContinueOnError)
	f.SetOutput(output)
	f.SortFlags = false
	f.Usage = func() { fmt.Fprint(output, usage, f.FlagUsagesWrapped(100)) }
	addCommonFlags(f, &o.kubeconfig, &o.namespace, &o.logLevel)
	f.BoolVar(&o.leaderElect, "leader-elect", true, "let one of several replicas lead; needed with more than one")
	f.StringVar(&o.webhookBind, "webhook-bind-address", "", "address that the webhook listens on; empty is all")
	f.IntVar(&o.webhookPort, "webhook-port", 9443, "port that the webhook listens on")
	f.StringSliceVar(&o.webhookHosts, "webhook-host", nil, "further DNS name under which the API server calls the webhook, beside that of its Service")
	f.StringVar(&o.webhookCA, "webhook-client-ca", "", "file with the certificates that must have signed that of whoever calls the webhook, read anew for each connection; empty: anybody may call it. First give the API server a certificate for it, or nothing is held: an AdmissionConfiguration with a kubeConfigFile, see manifests/base/webhook.yaml")
	f.StringVar(&o.certDir, "cert-dir", "", "directory with tls.crt and tls.key to serve, reloaded when they change, as cert-manager mounts them; empty: the webhook signs its own")
	f.StringVar(&o.extenderBind, "extender-bind-address", "0", "address that answers kube-scheduler as an extender, such as :9444, with the webhook's certificate, and has the webhook mark the pods to ask about; 0 for none. See manifests/components/extender")
	f.StringVar(&o.extenderCA, "extender-client-ca", "", "file with the certificates that must have signed that of whoever calls the extender, read anew for each connection; empty: anybody may call it")
	f.StringVar(&o.metricsBind, "metrics-bind-address", ":8080", "address that serves /metrics; 0 for none")
	f.StringVar(&o.probeBind, "health-probe-bind-address", ":8081", "address that serves /healthz and /readyz; 0 for none")
	f.IntVar(&o.workers, "workers", 32, "how many pods are released at the same time")
	f.DurationVar(&o.lowerInterval, "ceiling-lower-interval", 5*time.Minute, "least time between two changes that lower a ceiling of KEDA's because of the intensity; 0 for none")
	f.StringVar(&o.lowerBy, "ceiling-lower-by", "", "by how much a ceiling of KEDA's is lowered at most in that time, such as 2 (replicas) or 10%; empty: at once. The annotation gridlatch.dev/lower-by of an object counts first")
	f.Float64Var(&o.hysteresis, "ceiling-hysteresis-percent", 2, "by how much the intensity has to be below the bound of a bucket for a policy's ceiling to be raised again")
	f.BoolVar(&o.earlyCron, "ceiling-early-cron", false, "keep the recurring schedules of CarbonAwareKedaScalers a minute early, as the Carbon Aware KEDA Operator did")
	f.StringSliceVar(&o.crossNamespace, "ceiling-cross-namespace", nil, "namespace whose CarbonAwareKedaScalers may have targets in other namespaces; * is all")
	return f
}

// common binds the flags that every part of the program has.
func addCommonFlags(f *pflag.FlagSet, kubeconfig, namespace *string, level *slog.Level) {
	f.StringVar(kubeconfig, "kubeconfig", "", "kubeconfig file; the default is the Pod's own service account")
	f.StringVar(namespace, "namespace", fallback(os.Getenv("POD_NAMESPACE"), "gridlatch-system"), "namespace of all that belongs to Gridlatch: its Secret, its Service, its lease, and the ConfigMaps of what it has learned")
	f.TextVar(level, "log-level", slog.LevelInfo, "debug, info, warn or error")
}

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
		return errors.New("--extender-client-ca: want --extender-bind-address, too")
	}
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

// extends reports whether the scheduler is answered.
func (o *options) servesExtender() bool { return o.extenderBind != "" && o.extenderBind != "0" }

// ceilings are the options of package ceiling.
func (o *options) ceilings() ceiling.Options {
	return ceiling.Options{
		Workers: o.workers, LowerInterval: o.lowerInterval, LowerBy: o.lowerBy, Hysteresis: o.hysteresis / 100,
		EarlyCron: o.earlyCron, CrossNamespace: o.crossNamespace,
	}
}

func fallback(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/gridlatch/gridlatch/certs"
)

const certsUsage = `Makes and renews the CA with which Gridlatch signs its certificates, and makes the
API server trust the CA. The command runs beside Gridlatch in a Deployment of its
own. Clusters with cert-manager do not need it.

Usage:
  gridlatch certs [flags]

Flags:
`

// certsOptions are the values of the flags of gridlatch certs.
type certsOptions struct {
	kubeconfig string
	namespace  string
	metrics    metricsOptions
	probeBind  string
	logLevel   slog.Level
}

func (o *certsOptions) parse(args []string, output io.Writer) error {
	f := pflag.NewFlagSet("gridlatch certs", pflag.ContinueOnError)
	f.SetOutput(output)
	f.SortFlags = false
	f.Usage = func() { fmt.Fprint(output, certsUsage, f.FlagUsagesWrapped(100)) }
	addCommonFlags(f, &o.kubeconfig, &o.namespace, &o.logLevel)
	o.metrics.addFlags(f)
	f.StringVar(&o.probeBind, "health-probe-bind-address", ":8081", "address on which /healthz and /readyz are served; 0: not served")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: see gridlatch certs --help", f.Arg(0))
	}
	return nil
}

// keepCerts runs the only part that may write the CA and the caBundle. It needs no leader, see
// package certs.
func keepCerts(ctx context.Context, args []string) error {
	o := &certsOptions{}
	if err := o.parse(args, os.Stderr); err != nil {
		return usageError{err}
	}
	logTo(os.Stderr, o.logLevel)
	config, err := restConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return fmt.Errorf("build scheme: %w", err)
	}
	secret := caSecret(o.namespace)
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Cache:   cache.Options{ByObject: certs.ByObject(secret, name), ReaderFailOnMissingInformer: true},
		Metrics: metricsserver.Options{BindAddress: "0"}, // see listen
	})
	if err != nil {
		return fmt.Errorf("build manager: %w", err)
	}
	if err := certs.NewKeeper(config, secret, name).SetupWithManager(mgr); err != nil {
		return err
	}
	source, secure := certs.NewSource([]string{serviceHost(name+"-certs", o.namespace)}), &tls.Config{MinVersion: tls.VersionTLS12}
	if err := source.SetupWithManager(mgr); err != nil {
		return err
	}
	source.TLS(secure)
	metrics.Registry.MustRegister(&certs.ExpiryCollector{Serving: secure, Source: source})
	if err := o.metrics.serveMetrics(mgr, given(secure)); err != nil {
		return err
	}
	if err := serveProbes(mgr, o.probeBind, map[string]healthz.Checker{"caches": cachesFilled(mgr)}); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// serviceHost returns the DNS name of a Service.
func serviceHost(service, namespace string) string {
	return fmt.Sprintf("%s.%s.svc", service, namespace)
}

// caSecret returns the name of the Secret with the CA.
func caSecret(namespace string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name + "-ca"}
}

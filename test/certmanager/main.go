// Command certmanager is the part of cert-manager that our manifests need, in one process: its own controllers for
// issuers of the kinds CA and SelfSigned and for certificates, and its cainjector for webhook configurations. The
// modules in which cert-manager keeps its commands cannot be fetched by themselves, so this one calls its packages.
// Other issuers are left out, and with them what they bring along to speak to clouds.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	requestsca "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	requestsselfsigned "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	"github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"         // by being imported, for Issuers
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned" // as well
	"github.com/cert-manager/cert-manager/pkg/util"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// workers is how many of each controller's objects are worked on at once; it is cert-manager's default.
const workers = 5

func main() {
	metrics := flag.String("metrics-bind-address", "0", "where to serve metrics; 0: nowhere")
	probes := flag.String("health-probe-bind-address", "0", "where to serve /readyz; 0: nowhere")
	flag.Parse() // --kubeconfig, too, which is controller-runtime's
	ctrl.SetLogger(klog.Background())
	if err := run(ctrl.SetupSignalHandler(), *metrics, *probes); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run has one manager run all, until the context ends. The cainjector is made for such a manager; the controllers only
// share its start and its end.
func run(ctx context.Context, metrics, probes string) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	if err := cmapi.AddToScheme(scheme.Scheme); err != nil {
		return fmt.Errorf("build scheme: %w", err)
	}
	mgr, err := ctrl.NewManager(util.RestConfigWithUserAgent(config, "cainjector"), ctrl.Options{
		Scheme: scheme.Scheme,
		// It watches Secrets by their metadata only, and reads those that it needs.
		Client:                 client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Metrics:                metricsserver.Options{BindAddress: metrics},
		HealthProbeBindAddress: probes,
	})
	if err != nil {
		return fmt.Errorf("build manager: %w", err)
	}
	err = cainjector.RegisterAllInjectors(ctx, mgr, cainjector.SetupOptions{
		EnableCertificatesDataSource: true,
		EnabledReconcilersFor: map[string]bool{
			cainjector.MutatingWebhookConfigurationName: true, cainjector.ValidatingWebhookConfigurationName: true,
		},
	})
	if err != nil {
		return fmt.Errorf("set up cainjector: %w", err)
	}
	if err := addControllers(ctx, mgr); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add probe: %w", err)
	}
	return mgr.Start(ctx)
}

// addControllers has the manager run the controllers, which have registered themselves by being imported.
func addControllers(ctx context.Context, mgr ctrl.Manager) error {
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		Kubeconfig: flag.Lookup("kubeconfig").Value.String(), KubernetesAPIQPS: 20, KubernetesAPIBurst: 50, // its defaults
		IssuerOptions: controller.IssuerOptions{ClusterResourceNamespace: "kube-system"},
	})
	if err != nil {
		return fmt.Errorf("connect cert-manager: %w", err)
	}
	for _, name := range []string{
		issuers.ControllerName, approver.ControllerName, requestsca.CRControllerName, requestsselfsigned.CRControllerName,
		trigger.ControllerName, keymanager.ControllerName, requestmanager.ControllerName, issuing.ControllerName,
		readiness.ControllerName, revisionmanager.ControllerName,
	} {
		c, err := controller.Known()[name](factory)
		if err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
		if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return c.Run(workers, ctx) })); err != nil {
			return fmt.Errorf("add %s: %w", name, err)
		}
	}
	shared, err := factory.Build()
	if err != nil {
		return fmt.Errorf("connect cert-manager: %w", err)
	}
	// Whatever the controllers asked for when they were built.
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	return nil
}

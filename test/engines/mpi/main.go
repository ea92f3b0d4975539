// Command mpi is the MPI operator without its own server of health, whose port cannot be chosen, so that several can run
// on one machine, and without the election of a leader.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/kubeflow/mpi-operator/cmd/mpi-operator/app/options"
	clientset "github.com/kubeflow/mpi-operator/pkg/client/clientset/versioned"
	mpischeme "github.com/kubeflow/mpi-operator/pkg/client/clientset/versioned/scheme"
	informers "github.com/kubeflow/mpi-operator/pkg/client/informers/externalversions"
	"github.com/kubeflow/mpi-operator/pkg/controller"
	kubeinformers "k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// workers is how many MPIJobs are worked on at once; it is the operator's default.
const workers = 2

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

// run has a manager run the operator and serve its health, until the context ends.
func run(ctx context.Context, metrics, probes string) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS = -1
	if err := mpischeme.AddToScheme(scheme.Scheme); err != nil { // Events are about MPIJobs
		return fmt.Errorf("build scheme: %w", err)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Metrics: metricsserver.Options{BindAddress: metrics}, HealthProbeBindAddress: probes,
	})
	if err != nil {
		return fmt.Errorf("build manager: %w", err)
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add probe: %w", err)
	}
	operate := func(ctx context.Context) error { return operate(ctx, config) }
	if err := mgr.Add(manager.RunnableFunc(operate)); err != nil {
		return fmt.Errorf("add operator: %w", err)
	}
	return mgr.Start(ctx)
}

// operate runs the operator without gang scheduling, as its command does.
func operate(ctx context.Context, config *rest.Config) error {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	jobs, err := clientset.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	shared, sharedJobs := kubeinformers.NewSharedInformerFactory(kube, 0), informers.NewSharedInformerFactory(jobs, 0)
	core := shared.Core().V1()
	settings := options.NewServerOption()
	settings.AddFlags(flag.NewFlagSet("mpi-operator", flag.ContinueOnError)) // which sets the defaults
	operator, err := controller.NewMPIJobController(ctx, kube, jobs, nil, nil,
		core.ConfigMaps(), core.Secrets(), core.Services(), shared.Batch().V1().Jobs(), core.Pods(),
		shared.Scheduling().V1().PriorityClasses(), sharedJobs.Kubeflow().V2beta1().MPIJobs(), settings)
	if err != nil {
		return fmt.Errorf("build operator: %w", err)
	}
	shared.Start(ctx.Done())
	sharedJobs.Start(ctx.Done())
	return operator.Run(workers, ctx.Done())
}

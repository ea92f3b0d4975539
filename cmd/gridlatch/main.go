// Command gridlatch is the program that runs in the cluster. It has the webhook that holds
// delay-tolerant work at admission, the loop that releases the work, and the controller of KEDA's
// ceilings. The keeper of its certificates and the exporter of forecasts run as processes of their own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // deadlines name zones, and the image is empty

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/internal/version"
	"github.com/gridlatch/gridlatch/gating"
)

// gcPercent is by how many percent the heap grows before the garbage collector runs. The program
// mostly waits, with much in its caches. Compared to Go's default of 100, it takes a third less
// memory for a little more time.
const gcPercent = 30

func main() {
	os.Exit(run(os.Args[1:]))
}

// run returns the exit code: 0 for success, 1 for a failure, and 2 for a mistake on the command
// line.
func run(args []string) int {
	command := runManager
	if len(args) > 0 {
		if other, ok := commands()[args[0]]; ok {
			command, args = other, args[1:]
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := command(ctx, args)
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return 0
	}
	screen.New(os.Stderr, false).Printf("gridlatch: %v\n", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}

// commands returns the commands by the first argument.
func commands() map[string]func(context.Context, []string) error {
	return map[string]func(context.Context, []string) error{"certs": keepCerts, "export": export, "release": releaseAll}
}

// usageError is a mistake on the command line.
type usageError struct{ error }

// Unwrap returns the mistake itself.
func (e usageError) Unwrap() error { return e.error }

func runManager(ctx context.Context, args []string) error {
	o := &options{}
	if err := o.parse(args, os.Stderr); err != nil {
		return usageError{err}
	}
	if o.asksVersion {
		fmt.Println(name, version.Get())
		return nil
	}
	logTo(os.Stderr, o.logLevel)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	config, err := restConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	now := gating.NewClock(clock.RealClock{}, metrics.Registry)
	config.Wrap(now.Follow)
	return serve(ctx, o, config, now)
}

// logTo makes all loggers write JSON to one output.
func logTo(output io.Writer, level slog.Level) {
	handler := limitLines(slog.NewJSONHandler(screen.Log(output), &slog.HandlerOptions{Level: level}))
	slog.SetDefault(slog.New(handler)) // for what net/http has to say
	logger := logr.FromSlogHandler(handler)
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	config.UserAgent = version.Get().UserAgent(name)
	config.QPS = -1 // the API server's own fairness decides
	return config, nil
}
